"""LoRA adapters of several trials on one resident base model."""

import copy
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import ModulesToSaveWrapper, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file

from workers.families.base import Base
from workers.models import card
from workers.models.targets import (
    adapted_layers,
    check_trained_modules,
    peft_targets,
    trained_ties,
)
from workers.recipe import Adapter

WEIGHTS = "adapter_model.safetensors"


def lora_config(adapter: Adapter, base: Base) -> LoraConfig:
    """Return peft's configuration of an adapter; biases are `AdaptedBase`'s own business.

    Raises ValueError, naming ``adapter.targets`` or ``adapter.trained_modules``, for what the
    base does not have.
    """
    check_trained_modules(adapter, base)
    if adapter.init == "mica":
        _check_narrow(adapter.rank, base, adapted_layers(adapter, base))
    if base.model.dtype == torch.float16:
        _refuse_float16(adapter)
    # Without a task type peft wraps with plain PeftModel, whose forward takes any keyword.
    return LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,  # type: ignore[arg-type]
        lora_dropout=adapter.dropout,
        target_modules=peft_targets(adapter, base),
        use_rslora=adapter.variant == "rslora",
        use_dora=adapter.variant == "dora",
        init_lora_weights=True if adapter.init == "default" else adapter.init,
        modules_to_save=list(adapter.trained_modules) or None,
    )


def linear_layer(base: Base, path: str) -> Any:
    """Return the base's own linear layer at `path`, also while peft has wrapped an adapter in."""
    module = base.model.get_submodule(path)
    return module.get_base_layer() if isinstance(module, BaseTunerLayer) else module


def _check_narrow(rank: int, base: Base, layers: Sequence[str]) -> None:
    """Refuse a rank above the width of a layer: it has no more directions."""
    linears = {path: linear_layer(base, path) for path in layers}
    widths = {path: min(own.in_features, own.out_features) for path, own in linears.items()}
    path = min(widths, key=widths.__getitem__)
    if rank > widths[path]:
        raise ValueError(
            f"adapter.rank must be at most {widths[path]} with init mica, the width of {path!r}, "
            f"got {rank}"
        )


def _refuse_float16(adapter: Adapter) -> None:
    """Refuse weights that are trained in the base's own type: AdamW's steps round to 0 in it."""
    fields = {"bias": adapter.bias != "none", "trained_modules": bool(adapter.trained_modules)}
    for field in (name for name, used in fields.items() if used):
        raise ValueError(
            f"adapter.{field} must be left out on a float16 base, in which such weights cannot be "
            "trained; set model.dtype to bfloat16 or float32"
        )


class Biases:
    """Biases of the base that adapters train: a private set per adapter, put in place in turns.

    peft trains the base's own biases in place and so allows them to one adapter only. Here the base
    keeps its own, untouched, and each adapter has copies, by the path of the module that has them.
    Made from the bare base, before any adapter wraps its layers.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._modules = {
            path: module
            for path, module in model.named_modules()
            if isinstance(getattr(module, "bias", None), torch.nn.Parameter)
        }
        self._bases_own = {path: module.bias for path, module in self._modules.items()}
        self._sets: dict[str, dict[str, torch.nn.Parameter]] = {}
        self._placed: str | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the modules that have a bias."""
        return tuple(self._modules)

    def add(self, name: str, paths: Iterable[str]) -> None:
        """Make the adapter's copies of the base's biases of the modules at `paths`."""
        self._sets[name] = {
            path: torch.nn.Parameter(self._bases_own[path].detach().clone()) for path in paths
        }

    def remove(self, name: str) -> None:
        """Forget the adapter's copies; the base has its own again."""
        self.place(None)
        del self._sets[name]

    def place(self, name: str | None) -> str | None:
        """Put the adapter's biases into the base, or the base's own; return whose were there."""
        before = self._placed
        if before != name:
            self._put(before, self._bases_own)
            self._put(name, self._sets.get(name or "", {}))
            self._placed = name
        return before

    def of(self, name: str) -> dict[str, torch.nn.Parameter]:
        """Return the adapter's biases by module path."""
        return self._sets[name]

    def load(self, name: str, values: Mapping[str, torch.Tensor]) -> None:
        """Overwrite the adapter's biases."""
        for path, value in values.items():
            self._sets[name][path].data.copy_(value)

    def _put(self, name: str | None, values: Mapping[str, torch.Tensor]) -> None:
        for path in self._sets.get(name or "", {}):
            self._modules[path].bias = values[path]


class AdaptedBase:
    """A base model and the adapters that are attached to it, by name.

    One adapter is active at a time. When the last one leaves, the base is as it was loaded,
    bit for bit.
    """

    def __init__(self, base: Base) -> None:
        self.base = base
        self._peft: PeftModel | None = None
        self._adapters: dict[str, Adapter] = {}
        self._layers: dict[str, frozenset[str]] = {}
        self._tied: dict[str, tuple[str, ...]] = {}
        self._active: str | None = None
        self._biases = Biases(base.model)
        # Read while the base is bare: later its layers have other paths.
        self._paths = base.modules, base.linear_layers, base.tied_modules

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the attached adapters."""
        return tuple(self._adapters)

    @property
    def model(self) -> Any:
        """The model to call: with the active adapter, or the bare base where there is none."""
        return self._peft if self._peft is not None else self.base.model

    def attach(self, name: str, adapter: Adapter, seed: int) -> None:
        """Add a new adapter and make it the active one; `seed` decides its first weights."""
        layers = frozenset(adapted_layers(adapter, self.base))
        self._refuse_conflicts(adapter, layers)
        config = lora_config(adapter, self.base)
        self._active = None
        self._biases.place(None)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            if self._peft is None:
                self._peft = get_peft_model(self.base.model, config, adapter_name=name)
            else:
                self._peft.add_adapter(name, config)
        self._adapters[name], self._layers[name] = adapter, layers
        self._tied[name] = trained_ties(adapter, self.base)
        copied = tuple(f"{path}." for path in adapter.trained_modules)  # with their own biases
        biases = [
            path
            for path in self._biases.paths
            if (adapter.bias == "all" or (adapter.bias != "none" and path in layers))
            and not f"{path}.".startswith(copied)
        ]
        self._biases.add(name, biases)
        self.activate(name)

    def activate(self, name: str) -> None:
        """Make `name` the adapter that forward, backward and generate use."""
        peft = self._attached(name)
        if name == self._active:  # to walk all modules takes its time
            return
        peft.set_adapter(name)
        self._biases.place(name)
        self._active = name

    def parameters(self, name: str) -> list[torch.nn.Parameter]:
        """Return the adapter's trained weights in the model's order."""
        return list(self.named_parameters(name).values())

    def named_parameters(self, name: str) -> dict[str, torch.nn.Parameter]:
        """Return the same by their paths."""
        marker = f".{name}."
        adapter = {
            path: parameter
            for path, parameter in self._attached(name).named_parameters()
            if marker in path and ("lora_" in path or "modules_to_save." in path)
        }
        biases = {f"{path}.bias": bias for path, bias in self._biases.of(name).items()}
        return adapter | biases

    def detach(self, name: str) -> None:
        """Remove an adapter; with the last one the peft wrapper goes too."""
        peft = self._attached(name)
        self._biases.remove(name)
        del self._adapters[name], self._layers[name], self._tied[name]
        self._active = None
        if not self._adapters:
            for module in peft.modules():
                if isinstance(module, ModulesToSaveWrapper):
                    module.set_adapter([])  # else `unload` leaves the trained copy in the base
            peft.unload()
            self._peft = None
            return
        self.activate(next(iter(self._adapters)))
        peft.delete_adapter(name)

    @contextmanager
    def bare(self) -> Iterator[Any]:
        """Give the base without any adapter, for zero-shot scores."""
        if self._peft is None:
            yield self.base.model
        else:
            placed = self._biases.place(None)
            try:
                with self._peft.disable_adapter():
                    yield self._peft
            finally:
                self._biases.place(placed)

    def weights(self, name: str) -> dict[str, torch.Tensor]:
        """Return a copy of the adapter's weights under peft's file names, on the CPU."""
        state = get_peft_model_state_dict(
            self._attached(name),
            adapter_name=name,
            save_embedding_layers=False,  # "auto" asks the hub for the base's config
        )
        biases = {self._bias_key(name, path): own for path, own in self._biases.of(name).items()}
        return {key: value.detach().cpu().clone() for key, value in (state | biases).items()}

    def load_weights(self, name: str, weights: dict[str, torch.Tensor]) -> None:
        """Overwrite the adapter's weights with those of `weights`."""
        model = self._attached(name)
        keys = {self._bias_key(name, path): path for path in self._biases.of(name)}
        self._biases.load(name, {path: weights[key] for key, path in keys.items()})
        others = {key: value for key, value in weights.items() if key not in keys}
        set_peft_model_state_dict(model, others, adapter_name=name)

    def save(self, name: str, folder: Path, base_name: str) -> None:
        """Write the adapter as plain peft loads it: safetensors and adapter_config.json."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.weights(name), folder / WEIGHTS, metadata={"format": "pt"})
        config = copy.copy(self._attached(name).peft_config[name])
        config.base_model_name_or_path = base_name
        config.inference_mode = True
        config.bias = self._adapters[name].bias
        config.save_pretrained(str(folder))
        card.write(
            folder,
            self._adapters[name],
            base=base_name,
            quantization=self.base.quantization,
            layers=len(self._layers[name]),
            tied=self._tied[name],
        )

    def _bias_key(self, name: str, path: str) -> str:
        """Return the name that plain peft gives a bias when this adapter is alone."""
        layer = ".base_layer" if path in self._layers[name] else ""
        return f"base_model.model.{path}{layer}.bias"

    def _refuse_conflicts(self, new: Adapter, layers: Collection[str]) -> None:
        """Refuse to copy a module in which another adapter has something, and the reverse."""
        for name, other in self._adapters.items():
            changed = {*layers, *new.trained_modules}
            theirs = {*self._layers[name], *other.trained_modules}
            for copying, used in ((new, theirs), (other, changed)):
                for path in copying.trained_modules:
                    if any(f"{one}.".startswith(f"{path}.") for one in used - {path}):
                        raise ValueError(
                            f"adapter.trained_modules: {path!r} is copied by one trial and "
                            f"changed in parts by another on the same base (open is {name!r}); "
                            "do not sweep over the two"
                        )

    def _attached(self, name: str) -> PeftModel:
        if self._peft is None or name not in self._adapters:
            raise KeyError(f"no adapter {name!r} is attached; attached are {list(self.names)}")
        return self._peft


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights that `AdaptedBase.save` wrote to `folder`."""
    return load_file(folder / WEIGHTS)


def unloaded_weights(model: Any, folder: Path) -> tuple[str, ...]:
    """Return the names of the file's weights that the loaded peft `model` lacks or has otherwise.

    `folder` is an adapter as peft saves it; peft skips what it cannot place. Values are compared
    in the model's precision.
    """
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    loaded = {name: weight.detach().cpu() for name, weight in state.items()}
    return tuple(
        name
        for name, saved in sorted(read_weights(folder).items())
        if name not in loaded
        or loaded[name].shape != saved.shape
        or not torch.equal(loaded[name], saved.to(loaded[name].dtype))
    )
