"""Batches that carry features go past the image encoder, in `forward` and in `generate` alike.

Features travel under the name of the pixels, as (rows, 1, tokens, width). Pixels never look so:
they have three channels there, or fewer axes. Each module on the way from pixels to features hands
such a tensor on as its own output, and does its work on everything else. So batches with features
and batches with pixels can take turns on one model, and whatever a model does with pixels (beam
search repeats them) it does with features.
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
    """Teach the modules of a base to hand features on; twice is as good as once."""
    *before, last = base.family.VISION_CHAIN.items()
    for path, field in before:
        _replace(base.model.get_submodule(path), partial(_output, field))
    path, field = last
    _replace(base.model.get_submodule(path), partial(_features, field))


def _replace(module: Any, answer: Callable[[Tensor], Any]) -> None:
    """Put a check in front of a module's `forward`.

    On the instance, so that no path changes; as a `partial` of a bound method, so that a deep copy
    of the module (peft makes one to train it) calls its own weights.
    """
    if not (isinstance(module.forward, partial) and module.forward.func is _forward):
        module.forward = partial(_forward, module.forward, answer)


def _forward(
    own: Callable[..., Any], answer: Callable[[Tensor], Any], *args: Any, **named: Any
) -> Any:
    for value in (*args, *named.values()):
        if isinstance(value, Tensor) and value.dim() == 4 and value.shape[1] == 1:
            return answer(value)
    return own(*args, **named)


def _output(field: str, carried: Tensor) -> Any:
    """Return the output of a module whose tensor is in `field` of it; without one, the tensor."""
    return BaseModelOutputWithPooling(**{field: carried}) if field else carried


def _features(field: str, carried: Tensor) -> Any:
    """Return the output of the last module: the features themselves."""
    return _output(field, carried.squeeze(1))
