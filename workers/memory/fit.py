"""Limits of a device: rows in one forward, trials side by side, and trials that never fit."""

from collections.abc import Callable
from dataclasses import dataclass

from workers.memory.footprint import Footprint

USABLE = 0.9
"""Share of a device's memory that is planned with: allocators leave gaps, and rows differ."""
MOST_SLOTS_GPU, MOST_SLOTS_CPU = 16, 4
"""Most trials side by side on one GPU, and over all hosts of one machine without any.

On a CPU a pack of two has most of the gain, benchmarks/packing.md. More trials cost more there than
they save: each is a process of Ray's, and was chosen without the scores of those beside it.
"""
FEATURES_SHARE, BESIDE_SHARE = 1 / 16, 1 / 8
"""Share of a GPU's memory for the kept features of all bases of a host, and of the machine's memory
for those that do not fit there."""
LEAST_PACK = 2
"""Trials of a host on a CPU at least, however many hosts share the machine."""
UPPER = 1.5
"""By how much activations may be overestimated; at most 1.20 was measured, benchmarks/memory.md."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """The share of a device that a host has for itself."""

    gpu: bool
    bytes: float
    """Memory of its GPU, or of its share of one; without a GPU its share of the machine's."""
    hosts: int = 1
    """That share a machine without a GPU."""
    machine: float = 0.0
    """Memory of the machine that this host has for itself beside its GPU."""

    @property
    def beside(self) -> float:
        """Bytes of the machine's memory that are set aside for features beside a GPU."""
        return BESIDE_SHARE * self.machine

    @property
    def features(self) -> float:
        """Bytes that are set aside for kept features of images; none of a machine without a GPU,
        half of which is to spare (`sweeps.capacity.memory`)."""
        return FEATURES_SHARE * self.bytes if self.gpu else 0.0

    @property
    def room(self) -> float:
        """Bytes that are planned with."""
        return USABLE * self.bytes

    @property
    def most_slots(self) -> int:
        """Most trials side by side, however small they are."""
        return MOST_SLOTS_GPU if self.gpu else max(LEAST_PACK, MOST_SLOTS_CPU // self.hosts)


def micro_batch(at: Callable[[int], Footprint], wanted: int, device: Device) -> int:
    """Return the rows of one trial in one forward: `wanted`, or half of it and so on down to 1.

    `at` returns the footprint with so many rows. The first whose step fits counts; captions are
    not written in these rows. The effective batch stays: fewer rows in one forward mean more
    forwards per step.
    """
    rows = wanted
    while rows > 1:
        taken = at(rows)
        if taken.fixed + taken.features + taken.step <= device.room:
            return rows
        rows //= 2
    return 1


def slots(one: Footprint, device: Device, trials: int) -> int:
    """Return how many trials such as `one` train side by side: at least 1, at most `trials`."""
    most = min(device.most_slots, trials)
    fitting = (count for count in range(most, 1, -1) if one.times(count).total <= device.room)
    return next(fitting, 1)


def least(one: Footprint, evaluated: int) -> float:
    """Return the bytes that a trial needs at least: one row in a forward, and one to write.

    Weights count as they are, kept features not at all, all else divided by `UPPER`: to try what
    does not fit costs minutes, to leave out what does fit may cost the best trial. `one` is the
    estimate with one row, which writes captions for `evaluated` images.
    """
    low = one.scaled(1 / UPPER, 1 / UPPER)
    return low.fixed + max(low.step, low.generation / evaluated + low.copies)
