"""The fleet: which trial goes to which host."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Room:
    """What a host has to offer."""

    slots: int
    """Trials at a time."""
    gpu_bytes: float | None = None
    """Its share of its GPU's memory; None without a GPU, where any trial fits."""


class Fleet:
    """The hosts of one sweep, and the trials that each of them has.

    Becomes an actor by `ray.remote`: the driver adds and removes hosts, and each trial requests
    a place when it begins and when it has lost its host.
    """

    def __init__(self) -> None:
        self._rooms: dict[str, Room] = {}
        self._trials: dict[int, str] = {}
        """Number of a trial that has a slot -> its host."""
        self._bases: dict[int, str] = {}
        """Number of any trial so far -> the base that it trains on."""

    def add(self, host: str, room: Room) -> None:
        """Let trials go to a host."""
        self._rooms[host] = room

    def remove(self, host: str) -> None:
        """Forget a host that has left, and its trials."""
        self._rooms.pop(host, None)
        self._trials = {number: at for number, at in self._trials.items() if at != host}

    def has(self, host: str) -> bool:
        """Return whether a host is still there."""
        return host in self._rooms

    def place(self, number: int, need: float = 0.0, base: str = "") -> str | None:
        """Return the host that a trial of `need` bytes goes to; None while no slot is free.

        A trial that asks again, because its own process died, goes back to the host that still
        holds its slot. Else, of the hosts that it fits on and that are at most twice as full as the
        emptiest of them, to one that trains others on the same `base`: these share a pack. Of
        several to one with the fewest trials, and of those to one with the smallest GPU: the larger
        ones may be needed more. What fits nowhere goes to the largest GPU, where it finds out for
        certain.
        """
        if number in self._trials:
            return self._trials[number]
        sizes = {host: room.gpu_bytes for host, room in self._rooms.items()}
        fitting = [host for host, size in sizes.items() if size is None or need <= size]
        if not fitting:
            largest = max((size or 0.0 for size in sizes.values()), default=0.0)
            fitting = [host for host, size in sizes.items() if size == largest]
        load = Counter(self._trials.values())
        free = [host for host in fitting if load[host] < self._rooms[host].slots]
        if not free:
            return None
        least = min(load[host] for host in free)
        on_base = {at for other, at in self._trials.items() if self._bases[other] == base}
        chosen = min(
            (host for host in free if load[host] <= 2 * least),
            key=lambda host: (host not in on_base, load[host], sizes[host] or 0.0),
        )
        self._trials[number], self._bases[number] = chosen, base
        return chosen

    def release(self, number: int, host: str) -> None:
        """Take the slot of a trial away, unless it has one on another host by now."""
        if self._trials.get(number) == host:
            del self._trials[number]

    def retain(self, numbers: Collection[int]) -> None:
        """Free the slots of all other trials: their processes may have died without notice."""
        self._trials = {number: at for number, at in self._trials.items() if number in numbers}


def fleet_name(sweep_id: str) -> str:
    """Return the name under which a sweep's fleet is found as an actor."""
    return f"{sweep_id}/fleet"
