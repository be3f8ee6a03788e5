"""The memory of a host's device: the bytes that its trials are expected to take, and took.

Before a step it returns how many rows of each trial fit into one forward; after it, measurements
correct that, and what the driver plans with. When memory still runs out it returns what to
try instead, and releases what is unused.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from workers.memory import errors, fit
from workers.memory.fit import Device
from workers.memory.footprint import Correction, Footprint, Reading, estimate
from workers.memory.layers import Architecture
from workers.memory.weights import base_bytes
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
    return recipe.model, recipe.quantization


@dataclass(frozen=True, kw_only=True)
class _Open:
    """A trial in a slot."""

    recipe: Recipe
    expected: Footprint
    """With one row in a forward, uncorrected."""


class DeviceMemory:
    """Knows the trials of one host by their names.

    Args:
        device: what the host has for itself; None where that is not known, and nothing limited.
        read: reads what the last step or captions took; None on a CPU.
        make_room: removes from the device what is unused; returns whether there was anything.
    """

    def __init__(
        self,
        device: Device | None = None,
        read: Callable[[], Reading | None] = lambda: None,
        make_room: Callable[[], bool] = lambda: False,
    ) -> None:
        self.correction = Correction()
        """Factors of the estimate, from all measurements so far."""
        self._device, self._read, self._make_room = device, read, make_room
        self._architectures: dict[Model, Architecture | None] = {}
        self._open: dict[str, _Open] = {}
        self._bases: dict[Group, float] = {}

    def open(self, name: str, recipe: Recipe) -> None:
        """Count a trial that has got a slot, and its base, which stays."""
        if self._device is None:
            return
        if recipe.model not in self._architectures:
            files = checkpoint_files.find(recipe.model.base, recipe.model.revision)
            self._architectures[recipe.model] = Architecture.of(files) if files else None
        base = self._architectures[recipe.model]
        if base is None:
            return
        gpu, dtype = self._device.gpu, recipe.model.dtype
        expected = estimate(recipe, base, gpu=gpu, rows=1)
        self._open[name] = _Open(recipe=recipe, expected=expected)
        stored = base_bytes(base.files, recipe.quantization, dtype, gpu=gpu)
        self._bases[group_of(recipe)] = stored

    def close(self, name: str) -> None:
        """Count a trial no more."""
        self._open.pop(name, None)

    def forget(self, group: Group) -> None:
        """Count a base no more, which has left the device."""
        self._bases.pop(group, None)

    def rows(self, names: Sequence[str], wanted: int) -> int:
        """Return the rows of each of these trials in one forward: `wanted`, or fewer if they must.

        See `workers.memory.fit.micro_batch`. All slots and bases of the host count.
        """
        own = self._known(names)
        if self._device is None or not own:
            return wanted
        there = [each.expected for each in self._open.values()]

        def at(rows: int) -> Footprint:
            """Return the bytes that the host takes while these trials train."""
            expected = Footprint(
                base=sum(self._bases.values()),
                adapter=sum(each.adapter for each in there),
                activations=rows * sum(each.expected.activations for each in own),
                logits=rows * sum(each.expected.logits for each in own),
                generation=0.0,
                context=max(each.context for each in there),
            )
            return self.correction.of(expected)

        return fit.micro_batch(at, wanted, self._device)

    def trained(self, names: Sequence[str], rows: int) -> None:
        """Compare what a step of these trials took, with so many rows of each."""
        if (reading := self._read()) and (own := self._known(names)):
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
        there = [each.expected for each in self._open.values()]
        expected = Footprint(
            base=sum(self._bases.values()),
            adapter=sum(each.adapter for each in there),
            activations=0.0,
            logits=0.0,
            generation=sum(each.expected.generation for each in own) * beams / planned,
            context=max(each.context for each in there),
        )
        one = self.correction.of(expected)
        fitting = int((self._device.room - one.fixed) / one.generation)
        wanted = evaluate.batch_size or MOST_CAPTIONS // (len(names) * beams)
        most = max(1, min(images, wanted, fitting))
        return math.ceil(images / math.ceil(images / most))

    def wrote(self, names: Sequence[str], beams: int, images: int) -> None:
        """Compare what the captions of these trials took, for so many images at a time of each."""
        if (reading := self._read()) and (own := self._known(names)):
            estimated = 0.0
            for each in own:
                evaluate = each.recipe.evaluate
                planned = evaluate.usual_batch * max(evaluate.beams, evaluate.final_beams)
                estimated += each.expected.generation * beams * images / planned
            self.correction = self.correction.after_captions(estimated, reading)

    def retreat(self, trials: int, rows: int) -> tuple[int, int] | None:
        """Return how many trials and rows to try after a step that ran out of memory.

        First half of the rows of each trial in one forward, at the same effective batch, down to
        one; then half of the trials; at last the trial once more, when all that is unused has
        left the device. None where that freed nothing: the trial does not fit.
        """
        errors.release()
        if rows > 1:
            return trials, rows // 2
        if trials > 1:
            return math.ceil(trials / 2), 1
        return (1, 1) if self._make_room() else None

    def attempt(self, work: Callable[[], T]) -> T:
        """Do some work, and once more when memory ran out and room could be made."""
        try:
            return work()
        except Exception as error:
            if not errors.is_out_of_memory(error):
                raise
            failure = error.with_traceback(None)  # its frames hold what did not fit
        errors.release()
        if not self._make_room():
            raise failure
        return work()

    def _known(self, names: Sequence[str]) -> list[_Open]:
        """Return these trials; nothing unless all are open."""
        found = [self._open[name] for name in names if name in self._open]
        return found if len(found) == len(names) else []
