"""Which trial goes to which host."""

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Fleet:
    """The hosts of one sweep by name, and the trials that each of them has."""

    hosts: tuple[str, ...]
    trials: dict[int, str] = field(default_factory=dict)
    """Number of a trial in flight -> its host."""

    def place(self, number: int) -> str:
        """Return the host with the fewest trials, the first one of equals."""
        load = dict.fromkeys(self.hosts, 0)
        for host in self.trials.values():
            load[host] = load.get(host, 0) + 1
        self.trials[number] = min(self.hosts, key=lambda host: load[host])
        return self.trials[number]

    def release(self, number: int) -> None:
        """Forget a trial that ended."""
        self.trials.pop(number, None)
