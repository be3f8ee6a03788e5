"""The memory of hosts: slots of a host, hosts of a machine, and points that fit on no GPU."""

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from sweeps.results.retention import format_bytes
from sweeps.spec.sweep import Sweep
from sweeps.trial import Point
from workers import families
from workers.features.frozen import leaves_vision
from workers.memory import fit
from workers.memory.fit import LEAST_PACK, Device
from workers.memory.footprint import CPU_CONTEXT, Correction, Footprint, estimate, feature_bytes
from workers.memory.layers import Architecture, DataExtent
from workers.memory.shared_terms import SharedTerms
from workers.memory.weights import adapted_paths, base_bytes
from workers.models import builtin, checkpoint_files
from workers.models.checkpoint_files import CheckpointFiles
from workers.packing.eligible import why_not_packed
from workers.recipe import Recipe

_LARGEST: Mapping[str, Callable[[Iterable[Any]], Any]] = {
    "adapter.rank": max,
    "adapter.dropout": max,
    "train.batch_size": max,
    "train.label_smoothing": max,
    "train.activation_checkpointing": min,
}
"""Field of the recipe that memory depends on monotonically -> its value that takes most."""
_KINDS = (
    "model.base",
    "model.revision",
    "model.dtype",
    "model.attn_implementation",
    "model.unquantized_modules",
    "model.min_pixels",
    "model.max_pixels",
    "quantization",
    "adapter.targets",
    "adapter.variant",
    "adapter.bias",
    "adapter.trained_modules",
)
"""Fields of which every value is estimated."""
_AS_ESTIMATED = Correction()
_GPU = Device(gpu=True, bytes=math.inf)
_SHARED_MEASURES = ("latency_ms", "seconds_per_epoch", "peak_memory_gb")
"""Measures of a trial that depend on the trials beside it."""
_PLANNED_SHARE = 0.5
"""Share of a machine's memory for hosts: the driver, Ray, Java, kept features and the processes of
trials are there, too, and one host that trains is better than two that swap."""

BaseName = tuple[str, str | None]
"""``model.base`` and ``model.revision``."""
Files = Mapping[BaseName, CheckpointFiles]


def base_names(sweep: Sweep) -> list[BaseName]:
    """Return every base that a trial of the sweep may have."""
    revisions = sweep.swept("model.revision", sweep.model.revision)
    return list(product(sweep.swept("model.base", sweep.model.base), revisions))


def local_files(sweep: Sweep) -> Files:
    """Return the files of the bases that are on this machine."""
    there = {name: checkpoint_files.find(*name) for name in base_names(sweep)}
    return {name: files for name, files in there.items() if files}


class Bases:
    """The architectures of bases, read once for all estimates of a sweep.

    `data` are the sizes of the data, None before they are read.
    """

    def __init__(self, files: Files, data: DataExtent | None = None) -> None:
        self.data = data
        self._architectures = {name: Architecture.of(own) for name, own in files.items()}

    def __bool__(self) -> bool:
        return bool(self._architectures)

    def of(self, recipe: Recipe) -> Architecture | None:
        """Return the architecture of a recipe's base.

        None where it is unknown or has no such ``adapter.targets``: a trial with them ends before
        it takes any memory.
        """
        base = self._architectures.get((recipe.model.base, recipe.model.revision))
        if base is None:
            return None
        try:
            families.target_pattern(base.files.family, recipe.adapter.targets)
        except ValueError:
            return None
        return base


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """The trials of a sweep that one host can hold."""

    largest: Recipe
    """The point that takes most memory."""
    one: Footprint
    """Footprint of a host with one slot for it, and the bases of all groups."""
    micro_batch: int
    """Rows of each trial in one forward."""
    least: float
    """Largest of the points' minimal bytes, see `Needs`."""
    slots: int
    why: str
    """The reason for the number of slots."""
    alone: tuple[str, ...]
    """Reasons why some of the points, or all, cannot be packed."""
    packs: bool
    """Whether any point can be packed."""
    left_out: tuple[str, ...]
    """What of the bases' memory is not known."""


@dataclass(frozen=True, kw_only=True)
class _Point:
    """A trial of the space, and what it shares with others."""

    recipe: Recipe
    base: Architecture
    terms: SharedTerms
    alone: str | None
    """Why it cannot be packed."""
    pack: Hashable
    """Trials with the same one are packed together; None for a trial that trains alone."""

    @classmethod
    def of(cls, sweep: Sweep, recipe: Recipe, base: Architecture, device: Device) -> "_Point":
        """Return what is known of a trial before it is loaded."""
        family, adapter = base.files.family, recipe.adapter
        layers = adapted_paths(adapter, base.files)
        alone = why_not_packed(recipe, family, layers)
        terms, pack = SharedTerms.alone(recipe, base.files), None
        if alone is None and sweep.resources.packing != "off":
            pack = recipe.model, recipe.quantization, leaves_vision(adapter, family, layers)
            terms = SharedTerms.of_pack([terms])
        return cls(recipe=recipe, base=base, terms=terms, alone=alone, pack=pack)


def capacity(
    sweep: Sweep, bases: Bases, device: Device, correction: Correction = _AS_ESTIMATED
) -> Capacity:
    """Return the capacity of a host on `device`: as many trials of the largest point as fit.

    Points without a known base do not count. Raises ValueError, naming ``adapter.targets``, where
    none of the bases has such targets.
    """
    points = [
        _Point.of(sweep, own, base, device) for own in corners(sweep) if (base := bases.of(own))
    ]
    if not points:
        targets = sweep.adapter.targets
        raise ValueError(f"adapter.targets: no base of the sweep that is here has {targets!r}")
    # Trials of one group share an arena, with pixels and with features one each.
    packs: dict[Hashable, SharedTerms] = {}
    for point in points:
        if point.pack is not None:
            before = packs.get(point.pack, point.terms)
            packs[point.pack] = SharedTerms.of_pack([before, point.terms])

    def expected(point: _Point, rows: int | None = None) -> Footprint:
        terms = packs.get(point.pack, point.terms)
        recipe, base, data = point.recipe, point.base, bases.data
        own = estimate(recipe, base, gpu=device.gpu, rows=rows, terms=terms, data=data)
        return correction.of(own)

    whole = [expected(point) for point in points]
    _, largest = max(zip(whole, points, strict=True), key=lambda pair: pair[0].total - pair[0].base)
    # A host keeps the bases of all groups beside each other.
    groups = {(own.recipe.model.shared, own.recipe.quantization): own for own in points}
    resident = sum(
        base_bytes(own.base.files, model, quantization, gpu=device.gpu)
        for (model, quantization), own in groups.items()
    )
    features = sum(
        feature_bytes(own.recipe, own.base, gpu=device.gpu, data=bases.data)
        for own in groups.values()
    )
    adapter = max(each.adapter for each in whole)

    def at(rows: int) -> Footprint:
        own = expected(largest, rows)
        kept = min(device.features, features)
        return replace(own, base=resident, adapter=adapter, features=kept, arenas=len(packs))

    rows = fit.micro_batch(at, largest.recipe.train.batch_size, device)
    least = [fit.least(expected(own, 1), own.recipe.evaluate.usual_batch) for own in points]
    reasons = [point.alone for point in points]
    slots, why = _slots(sweep, at(rows), device, reasons)
    return Capacity(
        largest=largest.recipe,
        one=at(rows),
        micro_batch=rows,
        least=max(least),
        slots=slots,
        why=why,
        alone=tuple(dict.fromkeys(reason for reason in reasons if reason)),
        packs=None in reasons,
        left_out=tuple(dict.fromkeys(text for own in points for text in own.base.left_out)),
    )


def auto_slots(
    sweep: Sweep, bases: Bases, device: Device, correction: Correction = _AS_ESTIMATED
) -> int:
    """Return the slots of ``resources.slots: auto`` on a host; one where no base is known."""
    return capacity(sweep, bases, device, correction).slots if bases else 1


def hosts_that_fit(sweep: Sweep, machine: float) -> int | None:
    """Return how many hosts have room in `machine` bytes without a GPU, each with a small pack.

    None where the sweep names a number of hosts or a base of unknown size is not on this machine.
    """
    if sweep.resources.hosts != "auto":
        return None
    there, names = local_files(sweep), [base for base, _ in base_names(sweep)]
    if len(there) == len(names):
        found = capacity(sweep, Bases(there), Device(gpu=False, bytes=float("inf")))
        each = found.one.times(min(LEAST_PACK, found.slots)).total
    elif all(base in builtin.BASES for base in names):
        each = CPU_CONTEXT + sum(builtin.BASES[base].bytes for base in names)
    else:
        return None
    return int(_PLANNED_SHARE * machine / each)


def corners(sweep: Sweep) -> Iterator[Recipe]:
    """Yield recipes of which one takes as much memory as any point of the space.

    Conditions and rules of the space are ignored: they can only make it smaller.
    """
    space = sweep.search.space
    most = {path: choose(space[path].edges()) for path, choose in _LARGEST.items() if path in space}
    kinds = {path: tuple(space[path].edges()) for path in _KINDS if path in space}
    for values in product(*kinds.values()):
        yield sweep.with_point({**most, **dict(zip(kinds, values, strict=True))})


class Needs:
    """The minimal bytes of a sweep's trials on a GPU, by the present correction of estimates.

    Points that differ in nothing that memory depends on are estimated once. `measured` returns
    the correction by what the hosts have measured so far.
    """

    def __init__(
        self, sweep: Sweep, bases: Bases, measured: Callable[[], Correction] = Correction
    ) -> None:
        self._sweep, self._bases, self._measured = sweep, bases, measured
        self._known: dict[tuple[str, ...], tuple[Recipe, Footprint | None]] = {}

    def __call__(self, point: Point) -> float:
        """Return the minimal bytes of a point; 0 for an unknown base, which may go anywhere."""
        key = tuple(str(point.get(path)) for path in (*_LARGEST, *_KINDS))
        if key not in self._known:
            recipe = self._sweep.with_point(point)
            base = self._bases.of(recipe)
            footprint = None
            if base:
                terms = _Point.of(self._sweep, recipe, base, _GPU).terms
                data = self._bases.data
                footprint = estimate(recipe, base, gpu=True, rows=1, terms=terms, data=data)
            self._known[key] = recipe, footprint
        recipe, footprint = self._known[key]
        if footprint is None:
            return 0.0
        return fit.least(self._measured().of(footprint), recipe.evaluate.usual_batch)

    def refusal(self, point: Point, most: float) -> str | None:
        """Return why a point fits on no GPU if the largest has `most` bytes; None if it fits."""
        need = self(point)
        if not most or need <= most:
            return None
        return f"needs at least {need / 1e9:.0f} GB, and the largest GPU has {most / 1e9:.0f} GB"


def _slots(
    sweep: Sweep, one: Footprint, device: Device, reasons: Iterable[str | None]
) -> tuple[int, str]:
    """Return how many slots a host would have with ``auto``, and why."""
    if sweep.resources.packing == "off":
        return 1, "resources.packing is off"
    if None not in reasons:
        return 1, "no trial can share a forward with others"
    disturbed = [name for name in sweep.search.quantities if name in _SHARED_MEASURES]
    if disturbed:
        return 1, f"{disturbed[0]} decides, and other trials of the host would change it"
    count = fit.slots(one, device, sweep.search.trials)
    if count == sweep.search.trials:
        return count, "as many as there are trials"
    if count == device.most_slots:
        shared = f" that {device.hosts} hosts share" if device.hosts > 1 else ""
        return count, f"the most on a {'GPU' if device.gpu else 'CPU'}{shared}"
    return count, f"as many as fit in {fit.USABLE:.0%} of {format_bytes(device.bytes)}"
