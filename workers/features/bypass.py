"""Batches that carry features bypass the image encoder, in `forward` and in `generate` alike.

Features are passed under the name of the pixels, as (rows, 1, tokens, width). Pixels never have
that shape: they have three channels there, or fewer axes. Each module on the way from pixels to
features returns such a tensor as its own output, and computes everything else. So batches with
features and batches with pixels can take turns on one model, and whatever a model does with pixels
(beam search repeats them) it does with features.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

if TYPE_CHECKING:
    from workers.families.base import Base

KEY = "pixel_values"
"""What every family calls the tensor that its image encoder reads."""


def packed(features: Tensor) -> Tensor:
    """Return features (rows, tokens, width) as a batch carries them."""
    return features.unsqueeze(1)


def install(base: "Base") -> None:
    """Make the modules of a base pass features on; to do it twice changes nothing.

    Each module's `forward` is replaced on the instance, so that no path changes; by a `partial` of
    a bound method, so that a deep copy of the module (peft makes one to train it) calls its own
    weights.
    """
    *_, last = base.family.VISION_CHAIN
    for path, field in base.family.VISION_CHAIN.items():
        module = base.model.get_submodule(path)
        if not (isinstance(module.forward, partial) and module.forward.func is _forward):
            module.forward = partial(_forward, module.forward, field, path == last)


def _forward(own: Callable[..., Any], field: str, is_last: bool, *args: Any, **named: Any) -> Any:
    """Return features as a module's output, in its `field` if it has one; compute all else."""
    for value in (*args, *named.values()):
        if isinstance(value, Tensor) and value.dim() == 4 and value.shape[1] == 1:
            features = value.squeeze(1) if is_last else value
            return BaseModelOutputWithPooling(**{field: features}) if field else features
    return own(*args, **named)
