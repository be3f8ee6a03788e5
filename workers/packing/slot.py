"""One trial of a pack: its adapter, its optimizer, and their files.

The files are the same as those of a slot that trains by itself. So a trial may be trained in a pack
before and by itself after, or the other way round: weights and moments of AdamW are written layer
by layer, with their true rank, not as rows of an arena.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from workers.models.adapters import read_weights
from workers.packing import peft_weights
from workers.packing.arena import Arena, Matrices
from workers.packing.peft_weights import FreshAdapter
from workers.recipe import Recipe
from workers.slots import snapshots

_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass
class PackedSlot:
    """The whole mutable state of one trial; everything else is shared and frozen."""

    name: str
    recipe: Recipe
    fresh: FreshAdapter
    """Its layers, scale and config; its matrices are those before training."""
    arena: Arena
    parameter: torch.nn.Parameter
    """(width,): the slot's row of the arena, with its gradient."""
    optimizer: torch.optim.Optimizer
    """AdamW (Loshchilov and Hutter 2019) of this parameter alone."""
    rung: int = 0
    """Epochs done: with the seed, the data cursor and the state of dropout."""
    unhealthy_rungs: int = 0
    """Rungs with symptoms in a row, up to the last one."""

    def weights(self) -> list[torch.Tensor]:
        """Return views of A and B of each layer, of their true rank."""
        pairs = self.matrices(self.parameter.data).values()
        return [matrix for pair in pairs for matrix in pair]

    def matrices(self, row: torch.Tensor) -> Matrices:
        """Return views of what is in a row like this slot's (width,), of the true rank."""
        return self.arena.layout.unpacked(row, self.recipe.adapter.rank)

    def clip_gradient(self, most: float) -> None:
        """Scale the gradient down to an L2 norm of at most `most`.

        As `torch.nn.utils.clip_grad_norm_` does, which looks through a list of tensors for it: for
        a small one that takes longer than the work.
        """
        self._gradient.mul_((most / (self._gradient.norm() + 1e-6)).clamp(max=1.0))

    def forget_gradient(self) -> None:
        """Set the gradient to zero."""
        self._gradient.zero_()

    @property
    def _gradient(self) -> torch.Tensor:
        assert self.parameter.grad is not None  # a view of the arena's
        return self.parameter.grad

    def export(self, folder: Path) -> None:
        """Write the adapter as plain peft loads it."""
        weights = self.matrices(self.parameter.data)
        peft_weights.save(folder, weights, self.fresh.config, self.recipe.model.base)

    def snapshot(self, folder: Path) -> None:
        """Write all that `restore` needs; complete only when this returns."""
        self.export(folder)
        state = {"optimizer": self._optimizer_state(), "random": None, "device_random": None}
        snapshots.write(folder, state, self.rung, self.unhealthy_rungs, self.recipe)

    def restore(self, folder: Path) -> None:
        """Take the state that a slot of either kind wrote; raises as `snapshots.read` does."""
        state, cursor = snapshots.read(folder)
        self.load_adapter(folder, cursor["rung"])
        self.unhealthy_rungs = cursor["ailing"]
        self._load_optimizer(state["optimizer"])

    def load_adapter(self, folder: Path, rung: int) -> None:
        """Begin with the adapter in `folder`, which was trained for `rung` epochs."""
        saved = peft_weights.from_state(read_weights(folder), self.fresh.layers)
        self.arena.layout.packed(saved, self.parameter.data)
        self.rung = rung

    def _optimizer_state(self) -> dict[str, Any]:
        """Return the state of an AdamW over A and B of each layer, in their order.

        That is what a slot that trains alone has. The pack's own AdamW has one flat weight, whose
        moments (width,) are cut into those of the matrices, of the true rank.
        """
        saved = self.optimizer.state_dict()
        number = 2 * len(self.fresh.layers)
        group = {**saved["param_groups"][0], "params": list(range(number))}
        own: Mapping[str, torch.Tensor] | None = saved["state"].get(0)
        if own is None:  # it has made no step yet
            return {"state": {}, "param_groups": [group]}
        state = {index: {"step": own["step"].clone()} for index in range(number)}
        for moment in _MOMENTS:
            pairs = self.matrices(own[moment]).values()
            for index, matrix in enumerate(matrix for pair in pairs for matrix in pair):
                state[index][moment] = matrix.clone()
        return {"state": state, "param_groups": [group]}

    def _load_optimizer(self, saved: Mapping[str, Any]) -> None:
        """Load what `_optimizer_state` returned; hyperparameters stay the slot's own.

        The moments of padding are zero, as those of weights whose gradient was always zero.
        """
        if not saved["state"]:
            return
        state = {"step": saved["state"][0]["step"]}
        for moment in _MOMENTS:
            row = torch.zeros_like(self.parameter.data)
            own = [saved["state"][index][moment] for index in range(2 * len(self.fresh.layers))]
            named = {
                layer.path: (a, b)
                for layer, a, b in zip(self.fresh.layers, own[::2], own[1::2], strict=True)
            }
            self.arena.layout.packed(named, row)
            state[moment] = row
        group = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": {0: state}, "param_groups": group})
