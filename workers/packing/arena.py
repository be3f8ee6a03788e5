"""The weights and gradients of all slots that share a layout, one row each.

An arena is two matrices (slots, width) in float32, weights and gradients, see `layout` for a row.
Slots that train are kept in the first rows, because a batched product wants them evenly spaced:
when a slot joins or leaves, rows change places between two steps.
"""

import warnings

import torch

from workers.packing.layout import Matrices, PackLayout

# The gradients of leaves lie a row apart like the leaves themselves, and are added to in place:
# nothing is copied, which is what torch warns of.
warnings.filterwarnings("ignore", "grad and param do not obey the gradient layout contract")


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
        self._front: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        """What `leaves` returned last."""
        self._front_names: tuple[str, ...] | None = None
        """For whom; None once a row has moved."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the slots, in the order of their rows."""
        return tuple(self._names)

    def add(self, name: str, matrices: Matrices) -> torch.nn.Parameter:
        """Give a slot a row with these weights and return it as its parameter (width,)."""
        row = len(self._names)
        if row == self._values.shape[0]:
            self._grow()
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
        if names != self._front_names:
            for row, name in enumerate(names):
                self._swap(self._names.index(name), row)
            self._place()
            self._front = self._leaves(len(names))
            self._front_names = names
        return self._front

    def copies(self, names: tuple[str, ...]) -> torch.Tensor:
        """Return a copy of the weights of these slots (slots, width), in this order."""
        return self._values[[self._names.index(name) for name in names]]

    def _leaves(self, count: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        values = self.layout.matrices(self._values[:count])
        gradients = self.layout.matrices(self._gradients[:count])
        for path, pair in values.items():
            # A view of what requires no gradient is a leaf; a gradient that is there is added to.
            for matrix, gradient in zip(pair, gradients[path], strict=True):
                matrix.requires_grad_()
                matrix.grad = gradient
        return values

    def _swap(self, one: int, other: int) -> None:
        if one == other:
            return
        for rows in (self._values, self._gradients):
            rows[[one, other]] = rows[[other, one]]
        self._names[one], self._names[other] = self._names[other], self._names[one]

    def _grow(self) -> None:
        """Make room for one more row: rows are large, so none is kept in reserve."""
        empty = torch.zeros(1, self.layout.width, device=self._values.device)
        self._values = torch.cat([self._values, empty])
        self._gradients = torch.cat([self._gradients, empty])

    def _place(self) -> None:
        """Point the parameters at their rows again."""
        self._front_names = None
        for row, name in enumerate(self._names):
            self._parameters[name].data = self._values[row]
            self._parameters[name].grad = self._gradients[row]
