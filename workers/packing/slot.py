"""One trial of a pack: its adapter as peft makes, names and describes it, its optimizer, its files.

peft is applied to a skeleton: the adapted layers under their own paths, with their shapes and types
and no memory behind them. So first weights, file names and `adapter_config.json` are peft's own.

The files are the same as those of a slot that trains by itself. So a trial may be trained in a pack
before and by itself after, or the other way round: weights and moments of AdamW are written layer
by layer, with their true rank, not as rows of an arena.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import save_file

from workers.families.base import Base
from workers.models import adapters, card
from workers.models.targets import adapted_layers, trained_ties
from workers.packing.arena import AdaptedLayer, Arena, Key, Matrices
from workers.recipe import Adapter, Recipe
from workers.slots.slot import read_snapshot, write_snapshot

_PREFIX = "base_model.model."
"""Before the path of a layer in the names of saved weights."""
_NAME = "default"
_MOMENTS: tuple[Key, ...] = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class FreshAdapter:
    """A new adapter: what decides its place in a pack, and its first weights."""

    layers: tuple[AdaptedLayer, ...]
    matrices: Matrices
    """A and B of the true rank, float32 on the CPU; B is zero by default, see ``adapter.init``."""
    scale: float
    """Factor of B A: alpha / rank, or alpha / sqrt(rank) for rsLoRA."""
    config: Any
    """peft's `LoraConfig`."""
    tied: tuple[str, ...] = ()
    """See `workers.models.targets.trained_ties`."""


@dataclass
class PackedSlot:
    """The state of one trial, with its rows in the arena; everything else is shared and frozen."""

    name: str
    recipe: Recipe
    fresh: FreshAdapter
    """Its layers, scale and config; its matrices are those before training."""
    arena: Arena
    """Its weights, gradients and moments, by its name."""
    loss_scale: torch.Tensor | None = None
    """See `workers.packing.loss_scales`; None where the base is not float16."""
    steps: int = 0
    """Optimizer steps, those that were left out because a gradient overflowed included."""
    rung: int = 0
    """Epochs done: with the seed, the data cursor and the state of dropout."""
    unhealthy_rungs: int = 0
    """Rungs with symptoms in a row, up to the last one."""

    def weights(self) -> list[torch.Tensor]:
        """Return views of A and B of each layer, of their true rank."""
        return [matrix for pair in self._matrices("values").values() for matrix in pair]

    @property
    def steps_taken(self) -> int:
        """Optimizer steps that its moments have seen; to read it may wait for the device."""
        return self.steps - (0 if self.loss_scale is None else int(self.loss_scale[2]))

    def forget_gradient(self) -> None:
        """Set the gradient to zero."""
        self.arena.row("gradients", self.name).zero_()

    def export(self, folder: Path) -> None:
        """Write the adapter as plain peft loads it: safetensors and adapter_config.json."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            f"{_PREFIX}{path}.lora_{which}.weight": matrix.cpu().clone()
            for path, pair in self._matrices("values").items()
            for which, matrix in zip("AB", pair, strict=True)
        }
        save_file(tensors, folder / adapters.WEIGHTS, metadata={"format": "pt"})
        config = copy.copy(self.fresh.config)
        config.base_model_name_or_path = self.recipe.model.base
        config.inference_mode = True
        config.save_pretrained(str(folder))
        card.write(
            folder,
            self.recipe.adapter,
            base=self.recipe.model.base,
            quantization=self.recipe.quantization,
            layers=len(self.fresh.layers),
            tied=self.fresh.tied,
        )

    def snapshot(self, folder: Path) -> None:
        """Write all that `restore` needs; complete only when this returns.

        The moments are written as those of A and B of each layer, in their order and of their true
        rank: as `AdapterOptimizer.state` has them for a slot that trains alone.
        """
        self.export(folder)
        number = 2 * len(self.fresh.layers)
        state: dict[int, dict[str, torch.Tensor]] = {}
        if steps := self.steps_taken:
            state = {index: {"step": torch.tensor(float(steps))} for index in range(number)}
            for moment in _MOMENTS:
                pairs = self._matrices(moment).values()
                for index, matrix in enumerate(matrix for pair in pairs for matrix in pair):
                    state[index][moment] = matrix.clone()
        optimizer: dict[str, Any] = {"state": state}
        if self.loss_scale is not None:
            optimizer["scale"], optimizer["clean_steps"], _ = self.loss_scale.tolist()
        snapshot = {"optimizer": optimizer, "random": None, "device_random": None}
        write_snapshot(folder, snapshot, self.rung, self.unhealthy_rungs, self.recipe)

    def restore(self, folder: Path) -> None:
        """Take the state that a slot of either kind wrote; raises as `read_snapshot` does.

        Hyperparameters stay the slot's own.
        """
        snapshot, cursor = read_snapshot(folder)
        self.load_adapter(folder, cursor["rung"])
        self.unhealthy_rungs = cursor["ailing"]
        optimizer = snapshot["optimizer"]
        saved = optimizer["state"]
        if self.loss_scale is not None and "scale" in optimizer:
            scale = optimizer["scale"], optimizer["clean_steps"], 0.0
            self.loss_scale.copy_(torch.tensor(scale))
        if not saved:
            return
        self.steps = int(saved[0]["step"])
        for moment in _MOMENTS:
            pairs = self.fresh.matrices.values()
            own = [
                saved[index][moment] if index in saved else torch.zeros_like(matrix)
                for index, matrix in enumerate(matrix for pair in pairs for matrix in pair)
            ]
            layers = zip(self.fresh.layers, own[::2], own[1::2], strict=True)
            matrices = {layer.path: (a, b) for layer, a, b in layers}
            self.arena.write(moment, self.name, matrices)

    def load_adapter(self, folder: Path, rung: int) -> None:
        """Begin with the adapter in `folder`, which was trained for `rung` epochs."""
        saved = saved_matrices(folder, self.fresh.layers)
        self.arena.write("values", self.name, saved)
        self.rung = rung

    def _matrices(self, key: Key) -> Matrices:
        return self.arena.matrices(key, self.name)


def fresh_adapter(adapter: Adapter, base: Base, seed: int) -> FreshAdapter:
    """Return a new adapter with the first weights of peft for `seed`.

    Raises ValueError, naming ``adapter.targets`` or another field, for what the base does not have.
    """
    config = adapters.lora_config(adapter, base)
    paths = adapted_layers(adapter, base)
    linears = {path: adapters.linear_layer(base, path) for path in paths}
    layers = tuple(AdaptedLayer(p, own.in_features, own.out_features) for p, own in linears.items())
    skeleton = _skeleton(linears, with_weights=adapter.init == "mica")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model: PeftModel = get_peft_model(skeleton, config)
    tuned: dict[str, Any] = {layer.path: skeleton.get_submodule(layer.path) for layer in layers}
    pairs = ((path, module.lora_A[_NAME], module.lora_B[_NAME]) for path, module in tuned.items())
    return FreshAdapter(
        layers=layers,
        matrices={path: (a.weight.data, b.weight.data) for path, a, b in pairs},
        scale=float(tuned[layers[0].path].scaling[_NAME]),
        config=model.peft_config[_NAME],
        tied=trained_ties(adapter, base),
    )


def saved_matrices(folder: Path, layers: Sequence[AdaptedLayer]) -> Matrices:
    """Return the matrices of the adapter that is saved in `folder`."""
    weights = adapters.read_weights(folder)
    keys = {layer.path: f"{_PREFIX}{layer.path}.lora" for layer in layers}
    return {p: (weights[f"{key}_A.weight"], weights[f"{key}_B.weight"]) for p, key in keys.items()}


def _skeleton(linears: Mapping[str, Any], *, with_weights: bool) -> torch.nn.Module:
    """Return a tree of modules with stand-ins for these layers, path -> layer, in their order.

    A stand-in has the shape and type of its layer: all that peft reads, unless it wants weights.
    """
    root = torch.nn.Module()
    for path, linear in linears.items():
        *folders, name = path.split(".")
        parent = root
        for folder in folders:
            if folder not in parent._modules:
                parent.add_module(folder, torch.nn.Module())
            parent = parent.get_submodule(folder)
        made = torch.nn.Linear(linear.in_features, linear.out_features, bias=False, device="meta")
        # The type to which peft rounds first weights, before it trains them as float32: that of the
        # layer's weight; of 4-bit ones, which hold bytes, the one they compute in. To 8-bit ones
        # nothing is rounded.
        dtype: torch.dtype = getattr(linear, "compute_dtype", linear.weight.dtype)
        dtype = dtype if dtype.is_floating_point else torch.float32
        # One number that is seen as a whole matrix.
        weight = torch.empty(1, dtype=dtype).expand(made.weight.shape)
        if with_weights:
            weight = linear.weight.detach()
        made.weight = torch.nn.Parameter(weight, requires_grad=False)
        parent.add_module(name, made)
    return root
