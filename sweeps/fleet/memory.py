"""What of a sweep fits on a device: slots of a host, and which points fit nowhere."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from sweeps.context import Point
from sweeps.disk import in_words
from sweeps.sweep import Sweep
from workers import families
from workers.checkpoint_files import CheckpointFiles
from workers.footprint import fit
from workers.footprint.fit import Device
from workers.footprint.footprint import Footprint, estimate
from workers.footprint.layers import Architecture
from workers.footprint.weights import adapted_paths, base_bytes
from workers.packing.eligible import reason_alone
from workers.recipe import Recipe

_LARGEST: Mapping[str, Callable[[Iterable[Any]], Any]] = {
    "adapter.rank": max,
    "adapter.dropout": max,
    "train.batch_size": max,
    "train.activation_checkpointing": min,
}
"""Field of the recipe that memory grows with -> which of its values takes most."""
_KINDS = ("model.dtype", "quantization", "adapter.targets", "adapter.variant", "adapter.bias",
          "adapter.trained_modules")  # fmt: skip
"""Fields whose values must all be looked at."""


_OF_THE_MACHINE = ("latency_ms", "seconds_per_epoch", "peak_memory_gb")
"""What is measured of a trial and depends on who trains beside it."""


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What one host can hold of a sweep."""

    largest: Recipe
    """The point that takes most memory."""
    one: Footprint
    """Of a host with a slot for it, and the bases of all groups."""
    micro_batch: int
    """Rows of each trial in one forward."""
    least: float
    """Bytes that the point with the largest need takes, see `Needs`."""
    slots: int
    why: str
    """What decided on the slots."""
    alone: tuple[str, ...]
    """Why some of the points, or all, cannot be packed."""
    packs: bool
    """Whether any point can be packed."""


def capacity(sweep: Sweep, base: Architecture, device: Device) -> Capacity:
    """Return what a host on `device` can hold: as many as fit of the largest point of the space."""
    points = list(corners(sweep))
    largest = max(points, key=lambda recipe: _slot_bytes(recipe, base, device))

    def at(rows: int) -> Footprint:
        bases = _bases(points, base.files, device)
        return replace(estimate(largest, base, gpu=device.gpu, rows=rows), base=bases)

    rows = fit.micro_batch(at, largest.train.batch_size, device)
    reasons = tuple(dict.fromkeys(_reason_alone(point, base.files) for point in points))
    slots, why = _slots(sweep, at(rows), device, reasons)
    return Capacity(
        largest=largest,
        one=at(rows),
        micro_batch=rows,
        least=max(_least(point, base, gpu=device.gpu) for point in points),
        slots=slots,
        why=why,
        alone=tuple(reason for reason in reasons if reason),
        packs=None in reasons,
    )  # fmt: skip


def auto_slots(sweep: Sweep, files: CheckpointFiles | None, device: Device) -> int:
    """Return what ``resources.slots: auto`` means on a host; one where its base is not known."""
    return capacity(sweep, Architecture.of(files), device).slots if files else 1


def corners(sweep: Sweep) -> Iterator[Recipe]:
    """Yield recipes of which one takes as much memory as any point of the space.

    Conditions and rules of the space are left aside: they can only make it smaller.
    """
    space = sweep.search.space
    most = {path: choose(space[path].edges()) for path, choose in _LARGEST.items() if path in space}
    kinds = {path: tuple(space[path].edges()) for path in _KINDS if path in space}
    for values in product(*kinds.values()):
        yield sweep.with_point({**most, **dict(zip(kinds, values, strict=True))})


class Needs:
    """Bytes that the trials of a sweep need at least, on a GPU.

    Points that do not differ in what decides memory are looked at once.
    """

    def __init__(self, sweep: Sweep, files: CheckpointFiles) -> None:
        self._sweep, self._base = sweep, Architecture.of(files)
        self._known: dict[tuple[Any, ...], float] = {}

    def __call__(self, point: Point) -> float:
        """Return the bytes of a point's smallest footprint, see `workers.footprint.fit.least`."""
        key = tuple(str(point.get(path)) for path in (*_LARGEST, *_KINDS))
        if key not in self._known:
            self._known[key] = _least(self._sweep.with_point(point), self._base, gpu=True)
        return self._known[key]

    def refusal(self, point: Point, most: float) -> str | None:
        """Return why a point fits on no GPU, of which the largest has `most` bytes; else None."""
        need = self(point)
        if not most or need <= most:
            return None
        return f"needs at least {need / 1e9:.0f} GB, and the largest GPU has {most / 1e9:.0f} GB"


def _least(recipe: Recipe, base: Architecture, *, gpu: bool) -> float:
    def at(rows: int) -> Footprint:
        return estimate(recipe, base, gpu=gpu, rows=rows)

    return fit.least(at, recipe.evaluate.batch_size)


def _slots(
    sweep: Sweep, one: Footprint, device: Device, reasons: Iterable[str | None]
) -> tuple[int, str]:
    """Return how many slots a host would have with ``auto``, and why."""
    if sweep.resources.packing == "off":
        return 1, "resources.packing is off"
    if None not in reasons:
        return 1, "no trial can share a forward with others"
    disturbed = [name for name in sweep.search.quantities if name in _OF_THE_MACHINE]
    if disturbed:
        return 1, f"{disturbed[0]} decides, and neighbours would count in it"
    count = fit.slots(one, device, sweep.search.trials)
    if count == sweep.search.trials:
        return count, "as many as there are trials"
    if count == device.most_slots:
        return count, f"the most on a {'GPU' if device.gpu else 'CPU'}{_shared(device)}"
    return count, f"as many as fit in {fit.USABLE:.0%} of {in_words(device.bytes)}"


def _shared(device: Device) -> str:
    return f" that {device.hosts} hosts share" if device.hosts > 1 else ""


def _reason_alone(recipe: Recipe, files: CheckpointFiles) -> str | None:
    family = families.get(files.model_type)
    return reason_alone(recipe, family, adapted_paths(recipe.adapter, files))


def _slot_bytes(recipe: Recipe, base: Architecture, device: Device) -> float:
    own = estimate(recipe, base, gpu=device.gpu)
    return own.total - own.base


def _bases(points: Iterable[Recipe], files: CheckpointFiles, device: Device) -> float:
    """Return the bytes of the bases of all groups, which a host keeps beside each other."""
    groups = {(recipe.quantization, recipe.model.dtype) for recipe in points}
    return sum(base_bytes(files, name, dtype, gpu=device.gpu) for name, dtype in groups)
