"""Weights, gradients and moments of a pack's adapters: the rows of four matrices.

A row holds one trial's A (rank, inputs) of every layer, then every B (outputs, rank). All rows have
one layout, that of the largest rank in the pack and of all layers that any of its trials adapts: so
the trials of a layer are one batched matrix product, whatever their ranks and targets are. What a
trial lacks is zero, rows of A and columns of B alike. The gradient of the one is a product with the
other, so it is exactly zero, and AdamW (also its weight decay) leaves a zero where it is.

Slots that train are kept in the first rows, because a batched product needs them evenly spaced:
when a slot joins or leaves, rows change places between two steps.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import torch

from workers.memory.shared_terms import arena_capacity, padded_rank

Key = Literal["values", "gradients", "exp_avg", "exp_avg_sq"]
"""What a row is of; the moments have the names that torch's AdamW gives them."""
Matrices = Mapping[str, tuple[torch.Tensor, torch.Tensor]]
"""Path of a layer in the base -> A and B: of one trial (rank, inputs) and (outputs, rank), of
several with one more axis in front, (slots, ...)."""


@dataclass(frozen=True, order=True)
class AdaptedLayer:
    """One linear layer that has an adapter."""

    path: str
    """In the base, such as ``model.layers.0.self_attn.q_proj``."""
    inputs: int
    outputs: int


@dataclass(frozen=True)
class PackLayout:
    """Where in a row the matrices of each layer are."""

    layers: tuple[AdaptedLayer, ...] = ()
    """In the order of the row."""
    rank: int = 0
    """Of the padded matrices, see `workers.memory.shared_terms.padded_rank`."""

    @classmethod
    def around(cls, adapters: Iterable["PackLayout"]) -> "PackLayout":
        """Return the layout that has room for adapters of these layers and true ranks."""
        own = list(adapters)
        layers = {layer for adapter in own for layer in adapter.layers}
        rank = max((adapter.rank for adapter in own), default=0)
        return cls(tuple(sorted(layers)), padded_rank(rank))

    @cached_property
    def starts(self) -> Mapping[str, tuple[int, int]]:
        """Path of a layer -> where A and where B begin in a row, in elements."""
        starts, a, b = {}, 0, self.width_of_a
        for layer in self.layers:
            starts[layer.path] = a, b
            a += self.rank * layer.inputs
            b += self.rank * layer.outputs
        return starts

    @cached_property
    def width_of_a(self) -> int:
        """Elements of a row before the first B."""
        return self.rank * sum(layer.inputs for layer in self.layers)

    @cached_property
    def width(self) -> int:
        """Elements of a row, padding included."""
        return self.width_of_a + self.rank * sum(layer.outputs for layer in self.layers)

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
        views = self.matrices(row[None])
        for path, (own_a, own_b) in matrices.items():
            a, b = views[path]
            a[0, : own_a.shape[0]] = own_a
            b[0, :, : own_b.shape[1]] = own_b

    def unpacked(self, row: torch.Tensor, adapter: "PackLayout") -> Matrices:
        """Return views of an adapter's matrices in its `row` (width,), of its true rank."""
        views = self.matrices(row[None])
        own = ((layer.path, *views[layer.path]) for layer in adapter.layers)
        return {path: (a[0, : adapter.rank], b[0, :, : adapter.rank]) for path, a, b in own}

    def moved(self, rows: torch.Tensor, there: "PackLayout", capacity: int) -> torch.Tensor:
        """Return `rows` (slots, width) in the layout `there`, (capacity, width), zero elsewhere."""
        moved = torch.zeros(capacity, there.width, device=rows.device)
        count, rank = min(len(rows), capacity), min(self.rank, there.rank)
        before, after = self.matrices(rows[:count]), there.matrices(moved[:count])
        for path in before.keys() & after.keys():
            (old_a, old_b), (new_a, new_b) = before[path], after[path]
            new_a[:, :rank] = old_a[:, :rank]
            new_b[..., :rank] = old_b[..., :rank]
        return moved


class Arena:
    """The rows of slots by name: of their weights, gradients and AdamW's moments, in float32."""

    def __init__(self, device: torch.device) -> None:
        self.layout = PackLayout()
        self.device = device
        self._rows: dict[Key, torch.Tensor] = {
            key: torch.zeros(0, 0, device=device) for key in get_args(Key)
        }
        self._names: list[str] = []
        self._adapters: dict[str, PackLayout] = {}
        """Layers and true rank of each slot."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the slots, in the order of their rows."""
        return tuple(self._names)

    def add(self, name: str, adapter: PackLayout, matrices: Matrices) -> None:
        """Give a slot a row with these weights, of its own layers and true rank."""
        self._adapters[name] = adapter
        self._fit(len(self._names) + 1)
        self._names.append(name)
        for rows in self._rows.values():
            rows[len(self._names) - 1].zero_()
        self.layout.packed(matrices, self.row("values", name))

    def remove(self, name: str) -> None:
        """Free a slot's row, and the room that nobody needs without it."""
        self._swap(self._names.index(name), len(self._names) - 1)
        self._names.pop()
        del self._adapters[name]
        self._fit(len(self._names))

    def row(self, key: Key, name: str) -> torch.Tensor:
        """Return a view (width,) of a slot's row."""
        return self._rows[key][self._names.index(name)]

    def matrices(self, key: Key, name: str) -> Matrices:
        """Return views of what is in a slot's row, of its own layers and true rank."""
        return self.layout.unpacked(self.row(key, name), self._adapters[name])

    def write(self, key: Key, name: str, matrices: Matrices) -> None:
        """Write matrices of the slot's own layers and true rank into its row."""
        self.layout.packed(matrices, self.row(key, name))

    def first(self, names: Sequence[str]) -> dict[Key, torch.Tensor]:
        """Return views (slots, width) of these slots' rows, which move to the front for it."""
        for row, name in enumerate(names):
            self._swap(self._names.index(name), row)
        return {key: rows[: len(names)] for key, rows in self._rows.items()}

    def copies(self, names: Sequence[str]) -> torch.Tensor:
        """Return a copy of the weights of these slots (slots, width), in this order."""
        return self._rows["values"][[self._names.index(name) for name in names]]

    def _fit(self, count: int) -> None:
        """Change layout and capacity to what `count` slots with these adapters need."""
        layout = PackLayout.around(self._adapters.values())
        capacity = arena_capacity(count)
        if layout == self.layout and capacity == len(self._rows["values"]):
            return
        for key, rows in self._rows.items():  # one after the other: only one is there twice
            self._rows[key] = self.layout.moved(rows, layout, capacity)
        self.layout = layout

    def _swap(self, one: int, other: int) -> None:
        if one == other:
            return
        for rows in self._rows.values():
            rows[[one, other]] = rows[[other, one]]
        self._names[one], self._names[other] = self._names[other], self._names[one]
