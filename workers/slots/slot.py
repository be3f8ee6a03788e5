"""A slot: one trial's adapter, optimizer, data cursor and random state on a shared base."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from workers.models.adapters import AdaptedBase, read_weights
from workers.recipe import Recipe
from workers.slots import snapshots


class Slot:
    """The whole mutable state of one trial; everything else is shared and frozen."""

    def __init__(self, name: str, recipe: Recipe, adapted: AdaptedBase) -> None:
        """Attach a fresh adapter; the seed decides its weights and its dropout."""
        train, device = recipe.train, adapted.base.device
        adapted.attach(name, recipe.adapter, train.seed)
        self.name, self.recipe, self.adapted = name, recipe, adapted
        self.optimizer = torch.optim.AdamW(
            adapted.parameters(name), lr=train.learning_rate, weight_decay=train.weight_decay
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
        state = {"optimizer": self.optimizer.state_dict(), **random}
        snapshots.write(folder, state, self.rung, self.unhealthy_rungs, self.recipe)

    def restore(self, folder: Path) -> None:
        """Take the state that a slot of either kind wrote; raises as `snapshots.read` does."""
        state, cursor = snapshots.read(folder)
        self.load_adapter(folder, cursor["rung"])
        self.unhealthy_rungs = cursor["ailing"]
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:  # may be another trial's snapshot
            group["weight_decay"] = self.recipe.train.weight_decay
        if state["random"] is not None:  # a slot of a pack has none
            self.random, self.device_random = state["random"], state["device_random"]

    def load_adapter(self, folder: Path, rung: int) -> None:
        """Begin with the adapter in `folder`, trained for `rung` epochs, and a new optimizer."""
        self.adapted.load_weights(self.name, read_weights(folder))
        self.rung = rung
