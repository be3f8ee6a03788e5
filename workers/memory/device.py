"""The memory of a host's device: the bytes that its trials are expected to take, and took.

Before a step it returns how many rows of each trial fit into one forward; after it, measurements
correct that, and what the driver plans with. When memory still runs out it releases what is only
kept to save time; what is tried then instead: `workers.memory.limits`.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from workers.measures import MemoryReading
from workers.memory import errors, fit, weights
from workers.memory.fit import Device
from workers.memory.footprint import Correction, Footprint, estimate, feature_bytes
from workers.memory.layers import Architecture, DataExtent
from workers.memory.shared_terms import SharedTerms, arena_capacity
from workers.models import checkpoint_files
from workers.recipe import Model, Recipe

T = TypeVar("T")

MOST_CAPTIONS = 1024
"""Captions written together, beams and all slots counted: with more a GPU computes for longer than
the host takes to launch a token, and nothing is gained. An estimate, not measured on a GPU."""

Group = tuple[Model, str]
"""Slots of one group share a base: the model with its revision and type, and quantization."""


def group_of(recipe: Recipe) -> Group:
    """Return the group of a recipe's slots."""
    return recipe.model.shared, recipe.quantization


@dataclass(kw_only=True)
class _Open:
    """A trial in a slot."""

    recipe: Recipe
    base: Architecture
    data: DataExtent | None
    pack: Hashable
    """What it shares its forward with; None for a trial alone."""
    expected: Footprint
    """With one row in a forward, uncorrected."""


@dataclass(frozen=True, kw_only=True)
class _Arena:
    """The arena of a pack, as large as it has been since it was empty."""

    terms: SharedTerms
    slots: int
    capacity: int

    def joined(self, own: SharedTerms) -> "_Arena":
        """Return it with one more slot."""
        slots = self.slots + 1
        capacity = max(self.capacity, arena_capacity(slots))
        terms = SharedTerms.of_pack([self.terms, own])
        return _Arena(terms=terms, slots=slots, capacity=capacity)


class DeviceMemory:
    """Knows the trials of one host by their names.

    Args:
        device: what the host has for itself; None where that is not known, and nothing limited.
        features: returns the most bytes of features that the host may keep on it.
        make_room: removes from the device what is only kept to save time; returns whether there
            was anything.
    """

    def __init__(
        self,
        device: Device | None = None,
        features: Callable[[], float] = lambda: 0.0,
        make_room: Callable[[], bool] = lambda: False,
    ) -> None:
        self.correction = Correction()
        """Factors of the estimate, from all measurements so far."""
        self.freed = 0
        """Changes when a trial or a base has left: then there is more room than before."""
        self.make_room = make_room
        self._device, self._features = device, features
        self._architectures: dict[Model, Architecture | None] = {}
        self._open: dict[str, _Open] = {}
        self._arenas: dict[Hashable, _Arena] = {}
        self._bases: dict[Group, float] = {}
        self._images: dict[Group, float] = {}
        """Bytes of all features of a base; infinite where its data is not known."""

    def open(
        self, name: str, recipe: Recipe, pack: Hashable = None, data: DataExtent | None = None
    ) -> None:
        """Count a trial that has got a slot, and its base, which stays.

        Trials of one `pack` share their forward and an arena; one without is alone. `data` is
        what is known of the data that it trains with.
        """
        if self._device is None:
            return
        if recipe.model not in self._architectures:
            files = checkpoint_files.find(recipe.model.base, recipe.model.revision)
            self._architectures[recipe.model] = Architecture.of(files) if files else None
        base = self._architectures[recipe.model]
        if base is None:
            return
        gpu, group = self._device.gpu, group_of(recipe)
        terms = SharedTerms.alone(recipe, base.files)
        if pack is not None:
            arena = self._arenas.get(pack, _Arena(terms=terms, slots=0, capacity=0)).joined(terms)
            self._arenas[pack], terms = arena, arena.terms
            for other in self._open.values():
                if other.pack == pack:
                    other.expected = self._expected(other.recipe, other.base, other.data, terms)
        expected = self._expected(recipe, base, data, terms)
        self._open[name] = _Open(recipe=recipe, base=base, data=data, pack=pack, expected=expected)
        self._bases[group] = weights.base_bytes(base.files, *group, gpu=gpu)
        images = feature_bytes(recipe, base, gpu=gpu, data=data)
        self._images[group] = max(images, self._images.get(group, 0.0))

    def close(self, name: str) -> None:
        """Count a trial no more."""
        self.freed += 1
        closed = self._open.pop(name, None)
        if closed is None or closed.pack is None:
            return
        arena = self._arenas[closed.pack]
        self._arenas[closed.pack] = replace(arena, slots=arena.slots - 1)
        if arena.slots == 1:
            del self._arenas[closed.pack]

    def forget(self, group: Group) -> None:
        """Count a base no more, which has left the device."""
        self.freed += 1
        self._bases.pop(group, None)
        self._images.pop(group, None)

    def rows(self, names: Sequence[str], wanted: int) -> int:
        """Return the rows of each of these trials in one forward: `wanted`, or fewer if they must.

        See `workers.memory.fit.micro_batch`. All slots and bases of the host count, and the
        features that it may still keep.
        """
        own = self._known(names)
        if self._device is None or not own:
            return wanted
        held = self._held()

        def at(rows: int) -> Footprint:
            """Return the bytes that the host takes while these trials train."""
            activations = rows * sum(each.expected.activations for each in own)
            logits = rows * sum(each.expected.logits for each in own)
            return self.correction.of(replace(held, activations=activations, logits=logits))

        return fit.micro_batch(at, wanted, self._device)

    def trained(self, names: Sequence[str], rows: int, reading: MemoryReading | None) -> None:
        """Compare what a step of these trials took, with so many rows of each."""
        if reading and (own := self._known(names)):
            estimated = rows * sum(each.expected.step for each in own)
            self.correction = self.correction.after_step(estimated, reading)

    def captions(self, names: Sequence[str], beams: int, images: int) -> int | None:
        """Return of how many of `images` these trials write captions at a time, each of all.

        As many as fit beside all slots and bases of the host, in batches of about equal size; at
        most ``evaluate.batch_size``, or `MOST_CAPTIONS` in all. None where memory does not decide.
        """
        own = self._known(names)
        if self._device is None or not self._device.gpu or not own:
            return None
        evaluate = own[0].recipe.evaluate
        planned = evaluate.usual_batch * max(evaluate.beams, evaluate.final_beams)
        generation = sum(each.expected.generation for each in own) * beams / planned
        copies = sum(each.expected.copies for each in own)
        one = self.correction.of(replace(self._held(), generation=generation, copies=copies))
        fitting = int((self._device.room - one.fixed - one.features - one.copies) / one.generation)
        wanted = evaluate.batch_size or MOST_CAPTIONS // (len(names) * beams)
        most = max(1, min(images, wanted, fitting))
        return math.ceil(images / math.ceil(images / most))

    def wrote(
        self, names: Sequence[str], beams: int, images: int, reading: MemoryReading | None
    ) -> None:
        """Compare what the captions of these trials took, for so many images at a time of each."""
        if reading and (own := self._known(names)):
            estimated = 0.0
            for each in own:
                evaluate = each.recipe.evaluate
                planned = evaluate.usual_batch * max(evaluate.beams, evaluate.final_beams)
                estimated += each.expected.generation * beams * images / planned
                estimated += each.expected.copies
            self.correction = self.correction.after_captions(estimated, reading)

    def attempt(self, work: Callable[[], T]) -> T:
        """Do some work, and once more when memory ran out and room could be made."""
        try:
            return work()
        except Exception as error:
            if not errors.is_out_of_memory(error):
                raise
            failure = errors.emptied(error)  # its frames hold what did not fit
        errors.release()
        if not self.make_room():
            raise failure
        return work()

    def _expected(
        self, recipe: Recipe, base: Architecture, data: DataExtent | None, terms: SharedTerms
    ) -> Footprint:
        assert self._device is not None
        return estimate(recipe, base, gpu=self._device.gpu, rows=1, terms=terms, data=data)

    def _held(self) -> Footprint:
        """Return the bytes that are there between two steps, of all slots and bases."""
        return Footprint(
            base=sum(self._bases.values()),
            adapter=self._adapter_bytes(),
            activations=0.0,
            logits=0.0,
            generation=0.0,
            context=max(each.expected.context for each in self._open.values()),
            features=min(self._features(), sum(self._images.values())),
        )

    def _adapter_bytes(self) -> float:
        """Return the bytes of all adapters: those of a pack are rows of its arena."""
        rows = {each.pack: each.expected.adapter for each in self._open.values()}
        packed = sum(arena.capacity * rows[pack] for pack, arena in self._arenas.items())
        alone = (each.expected.adapter for each in self._open.values() if each.pack is None)
        return packed + sum(alone)

    def _known(self, names: Sequence[str]) -> list[_Open]:
        """Return these trials; nothing unless all are open."""
        found = [self._open[name] for name in names if name in self._open]
        return found if len(found) == len(names) else []
