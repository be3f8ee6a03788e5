"""A slot of a pack on disk: the same files as those of a slot that trains alone.

So a trial may be trained in a pack before and alone after, or the other way round: weights and
moments of AdamW are written layer by layer, with their true rank, not as rows of an arena.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from workers.models.adapters import read_weights
from workers.packing import peft_weights
from workers.packing.slot import PackedSlot
from workers.slots import snapshots

_MOMENTS = ("exp_avg", "exp_avg_sq")


def export(slot: PackedSlot, folder: Path) -> None:
    """Write the slot's adapter as plain peft loads it."""
    weights = slot.matrices(slot.parameter.data)
    peft_weights.save(folder, weights, slot.fresh.config, slot.recipe.model.base)


def write(slot: PackedSlot, folder: Path) -> None:
    """Write all that `read` needs; complete only when this returns."""
    export(slot, folder)
    state = {"optimizer": _optimizer_state(slot), "random": None, "device_random": None}
    snapshots.write(folder, state, slot.rung, slot.unhealthy_rungs, slot.recipe)


def read(slot: PackedSlot, folder: Path) -> None:
    """Give a new slot the state that was written to `folder`, by either kind of slot.

    Raises FileNotFoundError for an incomplete snapshot.
    """
    state, cursor = snapshots.read(folder)
    read_adapter(slot, folder, cursor["rung"])
    slot.unhealthy_rungs = cursor["ailing"]
    _load_optimizer(slot, state["optimizer"])


def read_adapter(slot: PackedSlot, folder: Path, rung: int) -> None:
    """Give a new slot the adapter in `folder`, which was trained for `rung` epochs."""
    saved = peft_weights.from_state(read_weights(folder), slot.fresh.layers)
    slot.arena.layout.packed(saved, slot.parameter.data)
    slot.rung = rung


def _optimizer_state(slot: PackedSlot) -> dict[str, Any]:
    """Return the state of an AdamW over A and B of each layer, in their order.

    That is what a slot that trains alone has. The pack's own AdamW has one flat weight, whose
    moments (width,) are cut into those of the matrices, of the true rank.
    """
    saved = slot.optimizer.state_dict()
    number = 2 * len(slot.fresh.layers)
    group = {**saved["param_groups"][0], "params": list(range(number))}
    own: Mapping[str, torch.Tensor] | None = saved["state"].get(0)
    if own is None:  # it has made no step yet
        return {"state": {}, "param_groups": [group]}
    state = {index: {"step": own["step"].clone()} for index in range(number)}
    for moment in _MOMENTS:
        pairs = slot.matrices(own[moment]).values()
        for index, matrix in enumerate(matrix for pair in pairs for matrix in pair):
            state[index][moment] = matrix.clone()
    return {"state": state, "param_groups": [group]}


def _load_optimizer(slot: PackedSlot, saved: Mapping[str, Any]) -> None:
    """Load what `_optimizer_state` returned; hyperparameters stay the slot's own.

    The moments of padding are zero, as those of weights whose gradient was always zero.
    """
    if not saved["state"]:
        return
    state = {"step": saved["state"][0]["step"]}
    for moment in _MOMENTS:
        row = torch.zeros_like(slot.parameter.data)
        own = [saved["state"][index][moment] for index in range(2 * len(slot.fresh.layers))]
        named = {
            layer.path: (a, b)
            for layer, a, b in zip(slot.fresh.layers, own[::2], own[1::2], strict=True)
        }
        slot.arena.layout.packed(named, row)
        state[moment] = row
    group = slot.optimizer.state_dict()["param_groups"]
    slot.optimizer.load_state_dict({"state": {0: state}, "param_groups": group})
