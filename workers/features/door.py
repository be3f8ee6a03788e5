"""The bypass of architectures without a file of their own: past `get_image_features`.

It is the one door in transformers by which a language model gets the features of images. Batches
carry what comes through it, and get it back from it instead of pixels: where tiles are joined, rows
of them separated and padding cut off, all of that is done already. `workers.traits` has seen on a
tiny stand-in that nothing else of pixels is read.

A tensor (parts, tokens, width) is kept as it is. Of a list with a tensor for each image, and of
features for several layers of the language model (DeepStack, Meng et al. 2024), the tokens are
kept, all features of a token side by side, and behind them a 1 at the first token of each image.
Where pixels of images lie side by side, see `collation.axis_of`, their features do as well.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from workers.encoding import collation
from workers.families.base import Base, Encoded
from workers.families.pixel_bytes import KEY as KEY

_NAME = "get_image_features"


@dataclass
class PassedFeatures(BaseModelOutputWithPooling):  # type: ignore[misc]
    """What comes through the door where features are passed on."""

    deepstack_features: list[list[Tensor]] | None = None
    """Of each layer that gets some, and each image."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"its language model reads {name!r} beside the features that {_NAME} returns"
        )


def are_features(value: Tensor) -> bool:
    """Return whether a tensor under `KEY` holds features, not pixels."""
    return value.dim() == 4 and value.shape[1] == 1


def door_of(model: Any) -> Any:
    """Return the module of a transformers model that has the door, None where there is none.

    The innermost: those around it hand on what they are asked.
    """
    doors = [module for module in model.modules() if hasattr(module, _NAME)]
    return doors[-1] if doors else None


def install(base: Base) -> None:
    """Make the door pass features on; to do it twice changes nothing."""
    module = door_of(base.model)
    own = getattr(module, _NAME)
    if not isinstance(own, partial):
        passing = partial(_through, own, _width(base), "target_sizes" in read_by(base))
        passing.__signature__ = inspect.signature(own)  # type: ignore[attr-defined] # for `generate`
        setattr(module, _NAME, passing)


def read_by(base: Base) -> tuple[str, ...]:
    """Return the names of the tensors that the door takes."""
    return tuple(inspect.signature(getattr(door_of(base.model), _NAME)).parameters)


def features_of(base: Base, images: Sequence[Encoded]) -> list[Tensor]:
    """Return the features of each image as a batch carries them.

    Raises ValueError for a model that makes another number of them than prompts have places for.
    """
    taken, batch = read_by(base), collation.on_device(base, collation.stacked(base, images))
    tensors = {name: own for name, own in batch.items() if name in taken}
    made = getattr(door_of(base.model), _NAME)(**tensors, return_dict=True)
    pooled, width = made.pooler_output, _width(base)
    if pooled is None:
        raise ValueError("what get_image_features returns has no pooler_output")
    counts = [base.family.image_places(base, image) for image in images]
    if isinstance(pooled, Tensor):
        each = pooled.shape[-2] if pooled.dim() == 3 else 1
        kept = pooled.reshape(-1, 1, each, pooled.shape[-1])
    else:
        each, layers = 1, [pooled, *(getattr(made, "deepstack_features", None) or ())]
        flat = [torch.cat([own.reshape(-1, own.shape[-1]) for own in layer]) for layer in layers]
        kept = torch.cat([*flat, torch.zeros_like(flat[0][:, :1])], dim=-1)[:, None, None]
        starts = torch.tensor([0, *counts]).cumsum(0)[:-1]
        kept[collation.to_device(starts, kept.device), ..., -1] = 1
    if kept.shape[0] * each != sum(counts) or kept.shape[-1] % width > 1:
        raise ValueError(
            f"its image encoder makes {kept.shape[0] * each} features of width {kept.shape[-1]}, "
            f"and prompts have {sum(counts)} image tokens of width {width}"
        )
    parts = torch.split(kept, [count // each for count in counts])
    side_by_side = collation.axis_of(images[0], KEY) == -1
    return [(part.movedim(0, -1) if side_by_side else part).clone() for part in parts]


def _through(
    own: Callable[..., Any], width: int, side_by_side: bool, *args: Any, **named: Any
) -> Any:
    """Return features as what the door makes of pixels; let the door make it of all else."""
    value = named[KEY] if KEY in named else args[0]
    if not are_features(value):
        return own(*args, **named)
    if side_by_side:
        value = value.movedim(-1, 0)
    if value.shape[-1] % width == 0:
        return PassedFeatures(pooler_output=value.squeeze(1))
    tokens, first = value[:, 0, 0, :-1], value[:, 0, 0, -1]
    images = [tokens]
    # Beams of `generate` take them apart; a step of training does not, and need not wait.
    if value.device.type == "cpu" or not torch.is_grad_enabled():
        images = list(tokens.tensor_split(first.nonzero().flatten().tolist()[1:]))
    pooled, *deeper = zip(*(image.split(width, dim=-1) for image in images), strict=True)
    deepstack = [list(layer) for layer in deeper] or None
    return PassedFeatures(pooler_output=list(pooled), deepstack_features=deepstack)


def _width(base: Base) -> int:
    return int(base.model.get_input_embeddings().embedding_dim)
