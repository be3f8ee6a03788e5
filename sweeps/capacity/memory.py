"""What of a sweep fits on a device: slots of a host, and which points fit nowhere."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from sweeps.capacity.bases import Bases
from sweeps.results.retention import format_bytes
from sweeps.spec.sweep import Sweep
from sweeps.trial import Point
from workers import families
from workers.memory import fit
from workers.memory.fit import Device
from workers.memory.footprint import Correction, Footprint, estimate
from workers.memory.layers import Architecture
from workers.memory.weights import adapted_paths, base_bytes
from workers.packing.eligible import why_not_packed
from workers.recipe import Recipe

_LARGEST: Mapping[str, Callable[[Iterable[Any]], Any]] = {
    "adapter.rank": max,
    "adapter.dropout": max,
    "train.batch_size": max,
    "train.activation_checkpointing": min,
}
"""Field of the recipe that memory grows with -> which of its values takes most."""
_KINDS = ("model.base", "model.revision", "model.dtype", "quantization", "adapter.targets",
          "adapter.variant", "adapter.bias", "adapter.trained_modules")  # fmt: skip
"""Fields whose values must all be looked at."""

_AS_ESTIMATED = Correction()

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


Corner = tuple[Recipe, Architecture]
"""A recipe at a corner of the space, with its base."""


def capacity(
    sweep: Sweep, bases: Bases, device: Device, correction: Correction = _AS_ESTIMATED
) -> Capacity:
    """Return what a host on `device` can hold: as many as fit of the largest point of the space.

    Of points whose base is known. Raises ValueError, naming ``adapter.targets``, where none of the
    bases has what is swept there.
    """
    points = [(recipe, base) for recipe in corners(sweep) if (base := bases.of(recipe))]
    if not points:
        raise ValueError(
            f"adapter.targets: no base of the sweep that is here has {sweep.adapter.targets!r}"
        )

    def expected(point: Corner, rows: int | None = None) -> Footprint:
        recipe, base = point
        return correction.of(estimate(recipe, base, gpu=device.gpu, rows=rows))

    def own_bytes(point: Corner) -> float:
        own = expected(point)
        return own.total - own.base

    largest, base = max(points, key=own_bytes)
    resident = _resident(points, device)

    def at(rows: int) -> Footprint:
        return replace(expected((largest, base), rows), base=resident)

    rows = fit.micro_batch(at, largest.train.batch_size, device)
    reasons = tuple(dict.fromkeys(_reason_alone(*point, device) for point in points))
    slots, why = _slots(sweep, at(rows), device, reasons)
    return Capacity(
        largest=largest,
        one=at(rows),
        micro_batch=rows,
        least=max(_least(expected(point, 1), point[0]) for point in points),
        slots=slots,
        why=why,
        alone=tuple(reason for reason in reasons if reason),
        packs=None in reasons,
    )


def auto_slots(
    sweep: Sweep, bases: Bases, device: Device, correction: Correction = _AS_ESTIMATED
) -> int:
    """Return what ``resources.slots: auto`` means on a host; one where no base is known."""
    return capacity(sweep, bases, device, correction).slots if bases else 1


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

    Args:
        sweep: where the points belong.
        bases: what is known of its bases.
        measured: returns by how much the hosts' trials were estimated wrong, as is known by now.
    """

    def __init__(
        self, sweep: Sweep, bases: Bases, measured: Callable[[], Correction] = Correction
    ) -> None:
        self._sweep, self._bases, self._measured = sweep, bases, measured
        self._known: dict[tuple[Any, ...], tuple[Recipe, Footprint] | None] = {}

    def __call__(self, point: Point) -> float:
        """Return the bytes of a point's smallest footprint, see `workers.memory.fit.least`.

        0 for a point whose base is not known: it may go anywhere.
        """
        key = tuple(str(point.get(path)) for path in (*_LARGEST, *_KINDS))
        if key not in self._known:
            self._known[key] = self._estimated(self._sweep.with_point(point))
        known = self._known[key]
        if known is None:
            return 0.0
        recipe, estimated = known
        return _least(self._measured().of(estimated), recipe)

    def refusal(self, point: Point, most: float) -> str | None:
        """Return why a point fits on no GPU, of which the largest has `most` bytes; else None."""
        need = self(point)
        if not most or need <= most:
            return None
        return f"needs at least {need / 1e9:.0f} GB, and the largest GPU has {most / 1e9:.0f} GB"

    def _estimated(self, recipe: Recipe) -> tuple[Recipe, Footprint] | None:
        base = self._bases.of(recipe)
        return (recipe, estimate(recipe, base, gpu=True, rows=1)) if base else None


def _least(one: Footprint, recipe: Recipe) -> float:
    return fit.least(one, recipe.evaluate.batch_size)


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
    return count, f"as many as fit in {fit.USABLE:.0%} of {format_bytes(device.bytes)}"


def _shared(device: Device) -> str:
    return f" that {device.hosts} hosts share" if device.hosts > 1 else ""


def _reason_alone(recipe: Recipe, base: Architecture, device: Device) -> str | None:
    family, layers = families.get(base.files.model_type), adapted_paths(recipe.adapter, base.files)
    return why_not_packed(recipe, family, layers, "cuda" if device.gpu else "cpu")


def _resident(points: Iterable[Corner], device: Device) -> float:
    """Return the bytes of the bases of all groups, which a host keeps beside each other."""
    groups = {(recipe.model, recipe.quantization): base for recipe, base in points}
    return sum(
        base_bytes(base.files, quantization, model.dtype, gpu=device.gpu)
        for (model, quantization), base in groups.items()
    )
