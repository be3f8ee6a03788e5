"""The base with the low-rank terms of several slots in its layers, and the rows of one micro-step.

A micro-step has equally many rows of every slot, one slot after the other.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar, cast

import torch

from workers.encoding import collation
from workers.encoding.collation import IGNORED, to_device
from workers.families.base import Base, Batch
from workers.models.adapters import linear_layer
from workers.packing.arena import PackLayout
from workers.packing.dropout import DropoutLayout
from workers.packing.epoch import SlotExamples
from workers.packing.linear import LayerWeights, PackedLinear, Route
from workers.packing.loss_scales import LossScales
from workers.training.losses import LearnedTokens, token_losses

T = TypeVar("T")
Bare = Callable[[], AbstractContextManager[Any]]
"""Makes a context in which adapters that others have put on the base do nothing."""
Precision = Literal["float32", "tf32", "bfloat16", "float16"]
OVERHEAD_ROWS = 16
"""Fixed cost of a pass, in rows: launches, and reading the weights."""
BUCKET = 8
"""On a GPU tokens of a pass are filled up to a multiple, so that shapes come again."""


@dataclass(frozen=True, kw_only=True)
class CarriedSlots:
    """The slots whose adapters the model carries, in the order of their rows in the batch."""

    layout: PackLayout
    values: torch.Tensor
    """Weights (slots, width)."""
    scale: torch.Tensor
    """(slots, 1, 1): what each slot's B A is multiplied by."""
    gradients: torch.Tensor | None = None
    """To which those of a step are added (slots, width); None for slots that are not trained."""
    dropout: DropoutLayout | None = None
    loss_scales: LossScales | None = None
    """Of slots that are trained on a float16 base."""

    @cached_property
    def by_layer(self) -> dict[str, LayerWeights]:
        """Path -> weights as its layer reads them."""
        return self._by_layer(self.values)

    def rounded(self, dtype: torch.dtype, scale: torch.Tensor) -> dict[str, LayerWeights]:
        """Return the same rounded to `dtype`, with the scale (slots, 1, 1) in B."""
        end_of_a, values = self.layout.width_of_a, torch.empty_like(self.values, dtype=dtype)
        values[:, :end_of_a] = self.values[:, :end_of_a]
        torch.mul(self.values[:, end_of_a:], scale[:, 0], out=values[:, end_of_a:])
        return self._by_layer(values)

    def _by_layer(self, values: torch.Tensor) -> dict[str, LayerWeights]:
        weights = self.layout.matrices(values)
        if self.gradients is None:
            return {path: LayerWeights(a, b) for path, (a, b) in weights.items()}
        gradients = self.layout.matrices(self.gradients)
        return {path: LayerWeights(a, b, *gradients[path]) for path, (a, b) in weights.items()}


@dataclass(frozen=True, kw_only=True)
class SlotTokens:
    """The learned tokens of a batch, equally many of each slot."""

    tokens: LearnedTokens
    """Slot after slot. A slot with fewer than others has its first one several times."""
    shares: torch.Tensor
    """(slots, tokens of each) float32: factor of each token's loss, 0 for repetitions."""

    @classmethod
    def of(
        cls, base: Base, labels: torch.Tensor, shares: Sequence[float], smoothing: torch.Tensor
    ) -> "SlotTokens":
        """Return those of labels (rows, positions) on the CPU, equally many rows of each slot.

        `shares` is the factor of the losses of each slot, `smoothing` the label smoothing of each
        row (rows,).
        """
        learned = collation.learned_labels(base, labels)
        places_per_row, own = learned.shape[1], (learned != IGNORED).view(len(shares), -1)
        counts = own.sum(dim=1, keepdim=True)
        longest = int(counts.max())
        if base.device.type != "cpu":
            longest = min(-(-longest // BUCKET) * BUCKET, own.shape[1])
        # False comes before True: the places of learned tokens, in their order.
        places = torch.argsort(~own, dim=1, stable=True)[:, :longest]
        real = torch.arange(longest) < counts
        places = torch.where(real, places, places[:, :1])
        rows_per_slot = len(labels) // len(shares)
        rows = places // places_per_row + rows_per_slot * torch.arange(len(shares))[:, None]
        places = (places % places_per_row).flatten()
        factors = real * torch.tensor(shares)[:, None]
        return cls(
            tokens=LearnedTokens.at(base, learned, rows.flatten(), places, smoothing),
            shares=to_device(factors, base.device),
        )


class PackedModel:
    """Puts packed layers in the place of linear ones and takes them away again.

    Between two steps the base is as it was.
    """

    def __init__(self, base: Base, bare: Bare, precision: Precision = "float32") -> None:
        self._base = base
        self._bare = bare
        self._precision = precision
        self._route = Route(anchor=torch.zeros((), device=base.device, requires_grad=True))
        self._layers: dict[str, tuple[torch.nn.Module, str, PackedLinear]] = {}
        """Path -> the parent, the name of the layer in it, and what is put there."""

    @contextmanager
    def carrying(self, slots: CarriedSlots, keys: torch.Tensor | None = None) -> Iterator[Any]:
        """Give the model for batches whose rows are those of `slots`, in order, equally many each.

        `keys` (rows,) on the base's device are those of the rows' dropout; None for none.
        """
        route, scale = self._route, slots.scale
        route.slots, route.masks = len(slots.values), None
        if slots.dropout and keys is not None:
            scale, route.masks = scale * slots.dropout.gains, slots.dropout.masks(keys)
        route.scale = scale
        by_layer = slots.by_layer
        if self._precision in ("bfloat16", "float16"):
            by_layer = slots.rounded(getattr(torch, self._precision), scale)
        with self._bare(), _matrix_units(rounding=self._precision == "tf32"):
            replaced = [self._put(path, weights) for path, weights in by_layer.items()]
            try:
                yield self._base.model
            finally:
                for parent, name, module, packed in replaced:
                    parent._modules[name] = module
                    packed.weights = None
                route.masks = None

    def losses(self, batch: Batch, tokens: SlotTokens) -> torch.Tensor:
        """Return the sum of each slot's losses, each times its share (slots,).

        Only while the model carries slots, of which each has equally many rows of `batch`.
        """
        self._route.tokens = tokens.tokens.rows, tokens.tokens.places
        try:
            lost = token_losses(self._base, self._base.model, batch, tokens.tokens)
        finally:
            self._route.tokens = None
        return (lost.view(tokens.shares.shape) * tokens.shares).sum(dim=1)

    def _put(
        self, path: str, weights: LayerWeights
    ) -> tuple[torch.nn.Module, str, torch.nn.Module | None, PackedLinear]:
        """Put the packed layer at `path`; return its parent, name, what was there, and it."""
        if path not in self._layers:
            folder, _, name = path.rpartition(".")
            parent = self._base.model.get_submodule(folder)
            head = getattr(parent, name) is self._base.model.get_output_embeddings()
            linear = linear_layer(self._base, path)
            made = PackedLinear(linear, path, self._route, head=head)
            self._layers[path] = parent, name, made
        parent, name, packed = self._layers[path]
        packed.weights = weights
        # As `setattr` does, which looks through all parameters and buffers first, in each step.
        there, parent._modules[name] = parent._modules[name], packed
        return parent, name, there, packed


@contextmanager
def _matrix_units(*, rounding: bool) -> Iterator[None]:
    """Let a GPU's matrix units round float32 to 10 bits for a while."""
    if not rounding:
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def precision_of(compute_dtype: str, base: Base) -> Precision:
    """Return the precision of ``adapter.compute_dtype`` on a base.

    A CPU has no matrix units that round, so tf32 is float32 there.
    """
    on_cpu = base.device.type == "cpu"
    if compute_dtype == "auto" and not on_cpu:
        compute_dtype = str(base.model.dtype).removeprefix("torch.")
    if compute_dtype == "auto" or (compute_dtype == "tf32" and on_cpu):
        return "float32"
    return cast(Precision, compute_dtype)


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
    multiple = 1 if base.device.type == "cpu" else BUCKET
    batch = collation.batch_of(base, images, rows, multiple)
    if any(filler):
        batch["labels"][torch.tensor(filler)] = IGNORED
    return batch


def dropout_keys(taken: Sequence[SlotExamples], size: int) -> torch.Tensor:
    """Return the keys of the dropout of `size` rows of each slot, (rows,) int32."""
    keys = [key for own in taken for key in _filled(own.keys, size)]
    return torch.tensor(keys, dtype=torch.int32)


def _filled(values: Sequence[T], size: int) -> list[T]:
    """Return `size` values: those that are missing are the first once more."""
    return [*values, *[values[0]] * (size - len(values))]
