"""Loading of base models: from a folder, the model hub, or a built-in base."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from workers import families, quantizations, tiny
from workers.families import Family
from workers.recipe import Model

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class Base:
    """A frozen base model with what belongs to it."""

    model: Any
    """A transformers model; every parameter has ``requires_grad`` off."""
    processor: Any
    family: Family
    device: torch.device


def resolve(base: str) -> str:
    """Return what `from_pretrained` takes for ``model.base``.

    A built-in base is built on first use (about half a minute) and cached as a folder.
    """
    if base in tiny.BASES:
        return str(tiny.base_folder(base))
    path = Path(base).expanduser()
    return str(path) if path.is_dir() else base


def compute_dtype(model: Model, device: torch.device) -> torch.dtype:
    """Return the precision of the base: ``auto`` is bfloat16 on a GPU, float32 on a CPU."""
    if model.dtype != "auto":
        return _DTYPES[model.dtype]
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def load_base(model: Model, quantization: str, device: torch.device) -> Base:
    """Load, quantize and freeze a base model.

    Raises ValueError, naming ``model.base``, when there is no such checkpoint or its family
    is not supported.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    source = resolve(model.base)
    try:
        config = AutoConfig.from_pretrained(source, revision=model.revision)
    except OSError as error:
        raise ValueError(
            f"model.base: no checkpoint at {model.base!r} (neither a folder with a config.json "
            f"nor a reachable hub model): {error}"
        ) from error
    family = families.get(config.model_type)
    dtype = compute_dtype(model, device)
    storage = quantizations.get(quantization)
    loaded = AutoModelForImageTextToText.from_pretrained(
        source,
        revision=model.revision,
        dtype=dtype,
        quantization_config=storage.config(dtype),
        device_map={"": str(device)},
    )
    storage.prepare(loaded)
    loaded.requires_grad_(False)
    processor = AutoProcessor.from_pretrained(source, revision=model.revision)
    return Base(model=loaded.eval(), processor=processor, family=family, device=device)
