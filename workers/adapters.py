"""LoRA adapters of several trials on one resident base model."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file

from workers.models import Base
from workers.recipe import Adapter

WEIGHTS = "adapter_model.safetensors"


def lora_config(adapter: Adapter, base: Base) -> LoraConfig:
    """Return peft's configuration of an adapter.

    Raises ValueError, naming ``adapter.targets``, for a set that the family does not have.
    """
    targets = base.family.TARGETS
    if adapter.targets not in targets:
        raise ValueError(
            f"adapter.targets must be one of {', '.join(targets)}, got {adapter.targets!r}"
        )
    # Without a task type peft wraps with plain PeftModel, whose forward takes any keyword.
    return LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,  # type: ignore[arg-type]
        lora_dropout=adapter.dropout,
        target_modules=targets[adapter.targets],
    )


class AdaptedBase:
    """A base model and the adapters that are attached to it, by name.

    One adapter is active at a time. When the last one leaves, the base is as it was loaded,
    bit for bit.
    """

    def __init__(self, base: Base) -> None:
        self.base = base
        self._peft: PeftModel | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the attached adapters."""
        return tuple(self._peft.peft_config) if self._peft is not None else ()

    @property
    def model(self) -> Any:
        """The model to call: with the active adapter, or the bare base when there is none."""
        return self._peft if self._peft is not None else self.base.model

    def attach(self, name: str, adapter: Adapter, seed: int) -> None:
        """Add a new adapter and make it the active one; `seed` decides its first weights."""
        config = lora_config(adapter, self.base)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            if self._peft is None:
                self._peft = get_peft_model(self.base.model, config, adapter_name=name)
            else:
                self._peft.add_adapter(name, config)
        self.activate(name)

    def activate(self, name: str) -> None:
        """Make `name` the adapter that forward, backward and generate use."""
        self._attached(name).set_adapter(name)

    def parameters(self, name: str) -> list[torch.nn.Parameter]:
        """Return the adapter's trained weights in the model's order."""
        marker = f".{name}."
        return [
            parameter
            for path, parameter in self._attached(name).named_parameters()
            if marker in path and "lora_" in path
        ]

    def detach(self, name: str) -> None:
        """Remove an adapter; with the last one the peft wrapper goes too."""
        peft = self._attached(name)
        if len(peft.peft_config) == 1:
            peft.unload()
            self._peft = None
            return
        others = [other for other in peft.peft_config if other != name]
        peft.set_adapter(others[0])
        peft.delete_adapter(name)

    @contextmanager
    def bare(self) -> Iterator[Any]:
        """Give the base without any adapter, for zero-shot scores."""
        if self._peft is None:
            yield self.base.model
        else:
            with self._peft.disable_adapter():
                yield self._peft

    def weights(self, name: str) -> dict[str, torch.Tensor]:
        """Return a copy of the adapter's weights under peft's file names, on the CPU."""
        state = get_peft_model_state_dict(
            self._attached(name),
            adapter_name=name,
            save_embedding_layers=False,  # "auto" asks the hub for the base's config
        )
        return {key: value.detach().cpu().clone() for key, value in state.items()}

    def load_weights(self, name: str, weights: dict[str, torch.Tensor]) -> None:
        """Overwrite the adapter's weights with those of `weights`."""
        set_peft_model_state_dict(self._attached(name), weights, adapter_name=name)

    def save(self, name: str, folder: Path, base_name: str) -> None:
        """Write the adapter as plain peft loads it: safetensors and adapter_config.json."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.weights(name), folder / WEIGHTS, metadata={"format": "pt"})
        config = copy.copy(self._attached(name).peft_config[name])
        config.base_model_name_or_path = base_name
        config.inference_mode = True
        config.save_pretrained(str(folder))

    def _attached(self, name: str) -> PeftModel:
        if self._peft is None or name not in self._peft.peft_config:
            raise KeyError(f"no adapter {name!r} is attached; attached are {list(self.names)}")
        return self._peft


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights that `AdaptedBase.save` wrote to `folder`."""
    return load_file(folder / WEIGHTS)
