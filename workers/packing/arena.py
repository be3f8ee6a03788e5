"""Weights and gradients of a pack's adapters: rows of two matrices.

A row holds one trial's A (rank, inputs) and B (outputs, rank), layer by layer. Ranks are padded to
a class, so that trials of different ranks fit into one batched matrix product. The padding of both
matrices is zero: rows of A and columns of B. The gradient of the one is a product with the other,
so it is exactly zero, and AdamW (also its weight decay) leaves a zero where it is.

The slots that share a layout have an arena: two matrices (slots, width) in float32, weights and
gradients. Slots that train are kept in the first rows, because a batched product needs them evenly
spaced: when a slot joins or leaves, rows change places between two steps.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch

# The gradients of leaves lie a row apart like the leaves themselves, and are added to in place:
# nothing is copied, which is what torch warns of.
warnings.filterwarnings("ignore", "grad and param do not obey the gradient layout contract")

RANK_CLASSES = (16, 64, 256)
"""Few classes: each is a matrix product of its own in every layer. Beside the base a rank costs
little, so padding to the next class is cheaper than another product."""

Matrices = Mapping[str, tuple[torch.Tensor, torch.Tensor]]
"""Path of a layer in the base -> A and B: of one trial (rank, inputs) and (outputs, rank), of
several with one more axis in front, (slots, ...)."""


def rank_class(rank: int) -> int:
    """Return the padded rank; above the largest class a multiple of it."""
    largest = RANK_CLASSES[-1]
    return next((size for size in RANK_CLASSES if rank <= size), -(-rank // largest) * largest)


@dataclass(frozen=True)
class AdaptedLayer:
    """One linear layer that has an adapter."""

    path: str
    """In the base, such as ``model.layers.0.self_attn.q_proj``."""
    inputs: int
    outputs: int


@dataclass(frozen=True)
class PackLayout:
    """The row of the trials that have one rank class and one set of adapted layers."""

    layers: tuple[AdaptedLayer, ...]
    """In the order of the row."""
    rank: int
    """The rank class, see `rank_class`."""

    @cached_property
    def starts(self) -> Mapping[str, tuple[int, int]]:
        """Path of a layer -> where A and where B begin in a row, in elements."""
        starts, end = {}, 0
        for layer in self.layers:
            starts[layer.path] = (end, end + self.rank * layer.inputs)
            end += self.rank * (layer.inputs + layer.outputs)
        return starts

    @cached_property
    def width(self) -> int:
        """Weights in a row, padding included."""
        return self.rank * sum(layer.inputs + layer.outputs for layer in self.layers)

    def matrices(self, rows: torch.Tensor) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Return views of `rows` (slots, width): A (slots, rank, inputs), B (slots, outputs, rank).

        The matrices of one layer are a row apart, a stride that batched products accept.
        """
        count, stride, begin = rows.shape[0], rows.stride(0), rows.storage_offset()
        views = {}
        for layer in self.layers:
            start_a, start_b = self.starts[layer.path]
            shape_a, shape_b = (count, self.rank, layer.inputs), (count, layer.outputs, self.rank)
            views[layer.path] = (
                rows.as_strided(shape_a, (stride, layer.inputs, 1), begin + start_a),
                rows.as_strided(shape_b, (stride, self.rank, 1), begin + start_b),
            )
        return views

    def packed(self, matrices: Matrices, row: torch.Tensor) -> None:
        """Write the matrices of one trial, of its true rank, into its `row` (width,)."""
        row.zero_()
        for path, (a, b) in self.matrices(row[None]).items():
            own_a, own_b = matrices[path]
            a[0, : own_a.shape[0]] = own_a
            b[0, :, : own_b.shape[1]] = own_b

    def unpacked(self, row: torch.Tensor, rank: int) -> Matrices:
        """Return views of the matrices in a `row` (width,), trimmed to the true rank."""
        return {
            path: (a[0, :rank], b[0, :, :rank]) for path, (a, b) in self.matrices(row[None]).items()
        }


class Arena:
    """Rows of weights by the names of their slots.

    Each slot has one flat parameter: the view of its row, with the gradient's row as its ``grad``.
    An optimizer of torch takes it as it is, and keeps it when the row changes its place: the
    moments belong to the parameter, whose data is pointed at the new row.
    """

    def __init__(self, layout: PackLayout, device: torch.device) -> None:
        self.layout = layout
        self._values = torch.zeros(0, layout.width, device=device)
        self._gradients = torch.zeros(0, layout.width, device=device)
        self._names: list[str] = []
        self._parameters: dict[str, torch.nn.Parameter] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the slots, in the order of their rows."""
        return tuple(self._names)

    def add(self, name: str, matrices: Matrices) -> torch.nn.Parameter:
        """Give a slot a row with these weights and return it as its parameter (width,)."""
        row = len(self._names)
        if row == self._values.shape[0]:  # rows are large, so none is kept in reserve
            empty = torch.zeros(1, self.layout.width, device=self._values.device)
            self._values = torch.cat([self._values, empty])
            self._gradients = torch.cat([self._gradients, empty])
        self._names.append(name)
        self.layout.packed(matrices, self._values[row])
        self._gradients[row].zero_()
        self._parameters[name] = torch.nn.Parameter(self._values[row])
        self._place()
        return self._parameters[name]

    def remove(self, name: str) -> None:
        """Free a slot's row."""
        self._swap(self._names.index(name), len(self._names) - 1)
        self._names.pop()
        del self._parameters[name]
        self._place()

    def leaves(self, names: tuple[str, ...]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Return path -> A (slots, rank, inputs), B (slots, outputs, rank), as leaves of autograd.

        In the order of `names`, whose rows move to the front for it. What `backward` adds to the
        matrices' gradients is in the gradients of the slots' parameters, which are the same memory.
        """
        for row, name in enumerate(names):
            self._swap(self._names.index(name), row)
        self._place()
        leaves = self.layout.matrices(self._values[: len(names)])
        gradients = self.layout.matrices(self._gradients[: len(names)])
        for path, pair in leaves.items():
            # A view of what requires no gradient is a leaf; its gradient is added to.
            for matrix, gradient in zip(pair, gradients[path], strict=True):
                matrix.requires_grad_()
                matrix.grad = gradient
        return leaves

    def copies(self, names: tuple[str, ...]) -> torch.Tensor:
        """Return a copy of the weights of these slots (slots, width), in this order."""
        return self._values[[self._names.index(name) for name in names]]

    def _swap(self, one: int, other: int) -> None:
        if one == other:
            return
        for rows in (self._values, self._gradients):
            rows[[one, other]] = rows[[other, one]]
        self._names[one], self._names[other] = self._names[other], self._names[one]

    def _place(self) -> None:
        """Point the parameters at their rows again."""
        for row, name in enumerate(self._names):
            self._parameters[name].data = self._values[row]
            self._parameters[name].grad = self._gradients[row]
