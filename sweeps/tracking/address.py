"""Where a run is in MLflow: found by a tag below the run above it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Address:
    """Where a run is: a trial's below its sweep's, that of a trial's segment below the trial's."""

    sweep_run_id: str
    trial: str
    segment: int | None = None
    """The rung after which the segment begins."""

    @property
    def tag(self) -> tuple[str, str]:
        """The tag by which the run is found below the one above it."""
        if self.segment is None:
            return "trial.id", self.trial
        return "segment.rung", str(self.segment)

    @property
    def name(self) -> str:
        """What the run's outbox is called."""
        return self.trial if self.segment is None else f"{self.trial}.{self.segment}"


def address(sweep_run_id: str, name: str) -> Address:
    """Return the address of a run by what its outbox is called."""
    trial, _, segment = name.partition(".")
    return Address(sweep_run_id, trial, int(segment) if segment else None)
