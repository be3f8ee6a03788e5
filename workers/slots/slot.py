"""A slot: one trial's adapter, optimizer, data cursor and random state on a shared base."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from workers.files.atomic import atomic_write
from workers.models.adapters import AdaptedBase, read_weights
from workers.models.parts import check_learning_rates
from workers.models.targets import adapted_layers
from workers.recipe import Recipe
from workers.training.optimizer import AdapterOptimizer, scales_loss

_OPTIMIZER = "optimizer.pt"
_STATE = "state.json"


class Slot:
    """The whole mutable state of one trial; everything else is shared and frozen."""

    def __init__(self, name: str, recipe: Recipe, adapted: AdaptedBase) -> None:
        """Attach a fresh adapter; the seed decides its weights and its dropout."""
        train, device = recipe.train, adapted.base.device
        check_learning_rates(train, adapted_layers(recipe.adapter, adapted.base))
        adapted.attach(name, recipe.adapter, train.seed)
        self.name, self.recipe, self.adapted = name, recipe, adapted
        self.optimizer = AdapterOptimizer(
            adapted.named_parameters(name), train, scaled=scales_loss(adapted.base)
        )
        self.random = torch.Generator().manual_seed(train.seed).get_state()
        """State of torch's CPU generator, for dropout."""
        self.device_random: torch.Tensor | None = None
        """The same of the GPU's generator; None on a CPU."""
        if device.type == "cuda":
            self.device_random = torch.Generator(device).manual_seed(train.seed).get_state()
        self.rung = 0
        """Epochs done: with the seed, the data cursor."""
        self.unhealthy_rungs = 0
        """Rungs with symptoms in a row, up to the last one."""

    def weights(self) -> list[torch.nn.Parameter]:
        """Return the trained weights."""
        return self.adapted.parameters(self.name)

    def activate(self) -> Any:
        """Make this slot's adapter the active one and return the model."""
        self.adapted.activate(self.name)
        return self.adapted.model

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Give the base and the process's random state to this slot for a while.

        Its random state is kept where it got to, and the process's own is untouched.
        """
        self.activate()
        device = self.adapted.base.device
        with torch.random.fork_rng():
            torch.set_rng_state(self.random)
            if self.device_random is not None:
                torch.cuda.set_rng_state(self.device_random, device)
            yield
            self.random = torch.get_rng_state()
            if self.device_random is not None:
                self.device_random = torch.cuda.get_rng_state(device)

    def export(self, folder: Path) -> None:
        """Write the adapter as plain peft loads it."""
        self.adapted.save(self.name, folder, self.recipe.model.base)

    def snapshot(self, folder: Path) -> None:
        """Write all that `restore` needs to resume bit-identically; complete when this returns."""
        self.export(folder)
        random = {"random": self.random, "device_random": self.device_random}
        state = {"optimizer": self.optimizer.state(), **random}
        write_snapshot(folder, state, self.rung, self.unhealthy_rungs, self.recipe)

    def restore(self, folder: Path) -> None:
        """Take the state that a slot of either kind wrote; raises as `read_snapshot` does."""
        state, cursor = read_snapshot(folder)
        self.load_adapter(folder, cursor["rung"])
        self.unhealthy_rungs = cursor["ailing"]
        self.optimizer.load(state["optimizer"])
        if state["random"] is not None:  # a slot of a pack has none
            self.random, self.device_random = state["random"], state["device_random"]

    def load_adapter(self, folder: Path, rung: int) -> None:
        """Begin with the adapter in `folder`, trained for `rung` epochs, and a new optimizer."""
        self.adapted.load_weights(self.name, read_weights(folder))
        self.rung = rung


def write_snapshot(
    folder: Path, state: dict[str, Any], rung: int, unhealthy: int, recipe: Recipe
) -> None:
    """Write a snapshot's state (tensors and plain values) and cursor to its folder."""
    torch.save(state, folder / _OPTIMIZER)
    # Written last: its presence means that the snapshot is complete.
    cursor = {"rung": rung, "ailing": unhealthy, "recipe": recipe.model_dump()}
    atomic_write(folder / _STATE, json.dumps(cursor))


def copy_snapshot(snapshot: Path, folder: Path) -> None:
    """Copy a snapshot; complete only when this returns."""
    copy_adapter(snapshot, folder)
    shutil.copyfile(snapshot / _OPTIMIZER, folder / _OPTIMIZER)
    atomic_write(folder / _STATE, (snapshot / _STATE).read_text())


def copy_adapter(snapshot: Path, folder: Path) -> None:
    """Copy the adapter that is in a snapshot, as plain peft loads it."""
    others = shutil.ignore_patterns(_OPTIMIZER, _STATE)
    shutil.copytree(snapshot, folder, ignore=others, dirs_exist_ok=True)


def read_snapshot(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return state and cursor of a snapshot; raises FileNotFoundError for an incomplete one."""
    if not (folder / _STATE).exists():
        raise FileNotFoundError(f"{folder}: no complete snapshot (no {_STATE})")
    # weights_only: tensors and plain values, no code is run from the file.
    state = torch.load(folder / _OPTIMIZER, weights_only=True, map_location="cpu")
    return state, json.loads((folder / _STATE).read_text())
