"""The adapter of one trial as peft makes, names and describes it, without the base's weights.

peft is applied to a skeleton: the adapted layers under their own paths, with their shapes and types
and no memory behind them. So first weights, file names and `adapter_config.json` are peft's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel, get_peft_model

from workers.families.base import Base
from workers.models.adapters import adapted_layers, linear_layer, lora_config
from workers.packing.arena import AdaptedLayer, Matrices
from workers.recipe import Adapter

PREFIX = "base_model.model."
"""Before the path of a layer in the names of saved weights."""
_NAME = "default"


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


def fresh(adapter: Adapter, base: Base, seed: int) -> FreshAdapter:
    """Return a new adapter with the first weights of peft for `seed`.

    Raises ValueError, naming ``adapter.targets``, for what the base does not have.
    """
    config = lora_config(adapter, base)
    linears = {path: linear_layer(base, path) for path in adapted_layers(adapter, base)}
    layers = tuple(
        AdaptedLayer(path, linear.in_features, linear.out_features)
        for path, linear in linears.items()
    )
    skeleton = _skeleton(linears)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model: PeftModel = get_peft_model(skeleton, config)
    tuned: dict[str, Any] = {layer.path: skeleton.get_submodule(layer.path) for layer in layers}
    return FreshAdapter(
        layers=layers,
        matrices={
            path: (module.lora_A[_NAME].weight.data, module.lora_B[_NAME].weight.data)
            for path, module in tuned.items()
        },
        scale=float(tuned[layers[0].path].scaling[_NAME]),
        config=model.peft_config[_NAME],
    )


def from_state(weights: Mapping[str, torch.Tensor], layers: tuple[AdaptedLayer, ...]) -> Matrices:
    """Return the matrices in the weights of a saved adapter, as `adapters.read_weights` gives."""
    return {
        layer.path: (
            weights[f"{PREFIX}{layer.path}.lora_A.weight"],
            weights[f"{PREFIX}{layer.path}.lora_B.weight"],
        )
        for layer in layers
    }


def _skeleton(linears: Mapping[str, Any]) -> torch.nn.Module:
    """Return a tree of modules with stand-ins for these layers, path -> layer, in their order.

    A stand-in has the shape and type of its layer: all that peft reads.
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
        made.weight = torch.nn.Parameter(weight, requires_grad=False)
        parent.add_module(name, made)
    return root
