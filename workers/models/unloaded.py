"""Which weights of an adapter's file did not reach the model: peft skips what it cannot place."""

from pathlib import Path
from typing import Any

import torch
from peft.utils import get_peft_model_state_dict

from workers.models.adapters import read_weights


def unloaded(model: Any, folder: Path) -> tuple[str, ...]:
    """Return the names of the file's weights that the loaded peft `model` lacks or has otherwise.

    `folder` is an adapter as peft saves it. Values are compared in the model's precision.
    """
    loaded = get_peft_model_state_dict(model, save_embedding_layers=False)
    return tuple(
        name
        for name, value in sorted(read_weights(folder).items())
        if name not in loaded or not _equal(loaded[name], value)
    )


def _equal(loaded: torch.Tensor, saved: torch.Tensor) -> bool:
    here = loaded.detach().cpu()
    return here.shape == saved.shape and torch.equal(here, saved.to(here.dtype))
