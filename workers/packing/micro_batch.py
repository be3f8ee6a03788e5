"""The rows of one micro-step: equally many of every slot, one slot after the other."""

from collections.abc import Sequence
from typing import TypeVar

import torch

from workers.encoding import collation
from workers.encoding.collation import IGNORED, Batch
from workers.families.base import Base
from workers.packing import dropout
from workers.packing.dropout import DropoutMasks
from workers.packing.epoch import SlotExamples
from workers.packing.model import BatchSegment
from workers.recipe import Recipe

T = TypeVar("T")

OVERHEAD_ROWS = 16
"""Fixed cost of a pass, in rows: launches, and reading the weights."""


def micro_batch(remaining: Sequence[int], most: int) -> int:
    """Return the rows per slot that do the most work in a given time.

    All slots get equally many, so that their layers are one batched product. A slot with fewer
    rows left before its next optimizer step than that is filled up with rows that count nothing; a
    slot with more continues in the next pass. A pass of m rows for each of k slots costs about
    `OVERHEAD_ROWS` + k m.

    Args:
        remaining: rows of each slot before its next optimizer step.
        most: largest number of rows per slot that memory allows.
    """

    def useful_share(size: int) -> float:
        useful = sum(min(rows, size) for rows in remaining)
        return useful / (OVERHEAD_ROWS + len(remaining) * size)

    return max(sorted({min(rows, most) for rows in remaining}), key=useful_share)


def training_batch(base: Base, taken: Sequence[SlotExamples], size: int) -> Batch:
    """Return `size` rows of each slot; those that fill up a slot have no labels."""
    images, rows, filler = [], [], []
    for own in taken:
        images += _filled(own.images, size)
        rows += _filled(own.rows, size)
        filler += [place >= len(own.rows) for place in range(size)]
    batch = collation.batch_of(base, images, rows)
    if any(filler):
        batch["labels"][torch.tensor(filler)] = IGNORED
    return batch


def dropout_masks(
    base: Base,
    recipes: Sequence[Recipe],
    taken: Sequence[SlotExamples],
    segments: Sequence[BatchSegment],
    size: int,
) -> list[DropoutMasks | None]:
    """Return the dropout of each segment's rows."""
    masks, first = [], 0
    for segment in segments:
        slots = range(first, first + segment.scale.shape[0])
        keys = [_filled(taken[slot].keys, size) for slot in slots]
        dropped = [recipes[slot].adapter.dropout for slot in slots]
        layers = ((path, a.shape[-1]) for path, (a, _) in segment.matrices.items())
        masks.append(dropout.of_slots(keys, dropped, base.device, layers))
        first = slots.stop
    return masks


def _filled(values: Sequence[T], size: int) -> list[T]:
    """Return `size` values: those that are missing are the first once more."""
    return [*values, *[values[0]] * (size - len(values))]
