"""The base with the low-rank terms of several slots in its layers, and the rows of one micro-step.

A micro-step has equally many rows of every slot, one slot after the other.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from workers.encoding import collation
from workers.encoding.collation import IGNORED, Batch
from workers.families.base import Base
from workers.models.adapters import linear_layer
from workers.packing import dropout
from workers.packing.arena import Matrices
from workers.packing.dropout import DropoutMasks
from workers.packing.epoch import SlotExamples
from workers.packing.linear import PackedLinear, Route, Share
from workers.recipe import Recipe
from workers.training.losses import token_losses

T = TypeVar("T")
Bare = Callable[[], AbstractContextManager[Any]]
"""Makes a context in which adapters that others have put on the base do nothing."""
OVERHEAD_ROWS = 16
"""Fixed cost of a pass, in rows: launches, and reading the weights."""


@dataclass(frozen=True)
class BatchSegment:
    """Slots of one layout whose rows follow one another in the batch.

    Each layer that they adapt sees them as a `Share`, and computes them in one batched product.
    """

    matrices: Matrices
    """Path of a layer -> A (slots, rank, inputs) and B (slots, outputs, rank)."""
    scale: torch.Tensor
    """(slots, 1, 1): what each slot's B A is multiplied by."""


class PackedModel:
    """Puts packed layers in the place of linear ones and takes them away again.

    Between two steps the base is as it was.
    """

    def __init__(self, base: Base, bare: Bare) -> None:
        self._base = base
        self._bare = bare
        self._route = Route()
        self._layers: dict[str, tuple[torch.nn.Module, str, PackedLinear]] = {}
        """Path -> the parent, the name of the layer in it, and what is put there."""

    @contextmanager
    def carrying(
        self, segments: Sequence[BatchSegment], masks: Sequence[DropoutMasks | None] | None = None
    ) -> Iterator[Any]:
        """Give the model for batches whose rows are those of the slots of `segments`, in order.

        Each slot must have equally many rows. `masks` is the dropout of each segment.
        """
        shares: dict[str, tuple[Share, ...]] = {}
        first = 0
        for number, segment in enumerate(segments):
            for path, (a, b) in segment.matrices.items():
                shares[path] = (*shares.get(path, ()), Share(number, first, a, b))
            first += segment.scale.shape[0]
        self._route.slots = first
        self._route.masks = masks or [None] * len(segments)
        pairs = zip(segments, self._route.masks, strict=True)
        self._route.scales = [one.scale * own.gains if own else one.scale for one, own in pairs]
        with self._bare():
            replaced = [self._put(path, shared) for path, shared in shares.items()]
            try:
                yield self._base.model
            finally:
                for parent, name, module in replaced:
                    parent._modules[name] = module
                self._route.masks = ()

    def losses(self, batch: Batch, smoothing: torch.Tensor) -> torch.Tensor:
        """Return the sum of the losses of each slot's learned tokens (slots,), not their mean.

        Only while the model carries slots, of which each has equally many rows of `batch`.
        `smoothing` is the label smoothing of each row (rows,), on the CPU.
        """
        learned = collation.learned_labels(self._base, batch["labels"]) != IGNORED
        counts: list[int] = learned.view(self._route.slots, -1).sum(dim=1).tolist()
        self._route.learned = learned
        try:
            lost = token_losses(self._base, self._base.model, batch, smoothing)
        finally:
            self._route.learned = None
        # Cut apart, not multiplied by masks: one slot's NaN is no other's.
        return torch.stack([own.sum() for own in torch.split(lost, counts)])

    def _put(
        self, path: str, shares: tuple[Share, ...]
    ) -> tuple[torch.nn.Module, str, torch.nn.Module | None]:
        """Put the packed layer at `path`; return what was there, with its parent and name."""
        if path not in self._layers:
            folder, _, name = path.rpartition(".")
            parent = self._base.model.get_submodule(folder)
            head = getattr(parent, name) is self._base.model.get_output_embeddings()
            linear = linear_layer(self._base, path)
            made = PackedLinear(linear, path, self._route, head=head)
            self._layers[path] = parent, name, made
        parent, name, packed = self._layers[path]
        packed.shares = shares
        # As `setattr` does, which looks through all parameters and buffers first, in each step.
        there, parent._modules[name] = parent._modules[name], packed
        return parent, name, there


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
