"""Where the two matrices of each layer are in one trial's row of weights.

A row holds, layer by layer, A (rank, inputs) and then B (outputs, rank). Ranks are padded to a
class, so that trials of different ranks fit into one batched matrix product. The padding of both
matrices is zero: rows of A and columns of B. The gradient of the one is a product with the other,
so it is exactly zero, and AdamW (also its weight decay) leaves a zero where it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch

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
        count, stride = rows.shape[0], rows.stride(0)
        return {
            layer.path: (
                rows.as_strided(
                    (count, self.rank, layer.inputs),
                    (stride, layer.inputs, 1),
                    rows.storage_offset() + self.starts[layer.path][0],
                ),
                rows.as_strided(
                    (count, layer.outputs, self.rank),
                    (stride, self.rank, 1),
                    rows.storage_offset() + self.starts[layer.path][1],
                ),
            )
            for layer in self.layers
        }

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
