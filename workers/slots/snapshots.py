"""The files of a snapshot beside its adapter: optimizer, random state, and where the data was."""

import json
from pathlib import Path
from typing import Any

import torch

from workers.files.atomic import atomic_write
from workers.recipe import Recipe

_OPTIMIZER = "optimizer.pt"
_STATE = "state.json"


def write(folder: Path, state: dict[str, Any], rung: int, unhealthy: int, recipe: Recipe) -> None:
    """Write a snapshot's state (tensors and plain values) and cursor to its folder."""
    torch.save(state, folder / _OPTIMIZER)
    # Written last: its presence means that the snapshot is complete.
    cursor = {"rung": rung, "ailing": unhealthy, "recipe": recipe.model_dump()}
    atomic_write(folder / _STATE, json.dumps(cursor))


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return state and cursor of a snapshot; raises FileNotFoundError for an incomplete one."""
    if not (folder / _STATE).exists():
        raise FileNotFoundError(f"{folder}: no complete snapshot (no {_STATE})")
    # weights_only: tensors and plain values, no code is run from the file.
    state = torch.load(folder / _OPTIMIZER, weights_only=True, map_location="cpu")
    return state, json.loads((folder / _STATE).read_text())
