"""Digests of what features depend on: the image encoder and the image.

Equal digests mean equal features, so nothing kept under them can be stale.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
import transformers

from workers.families.base import Encoded

if TYPE_CHECKING:
    from workers.families.base import Base

_PLACES = ("_name_or_path", "transformers_version")
"""Keys of a config that name its origin."""


def of_encoder(base: "Base") -> str:
    """Return the digest of all that turns prepared images into features, 32 hexadecimal digits.

    These are the weights as they are stored (quantized or not, and in which type), configuration,
    device and versions of the libraries. The base must be bare; about a second per GB.
    """
    config = {k: v for k, v in base.model.config.to_dict().items() if k not in _PLACES}
    versions = torch.__version__, transformers.__version__, base.device.type
    whole = hashlib.sha256(json.dumps([config, *versions], sort_keys=True, default=str).encode())
    for name, tensor in _weights(base):
        _add(whole, name, tensor)
    return whole.hexdigest()[:32]


def of_image(encoded: Encoded) -> str:
    """Return the digest of a prepared image: its content, and what the processor made of it."""
    whole = hashlib.sha256()
    for name, tensor in sorted(encoded.items()):
        _add(whole, name, tensor)
    return whole.hexdigest()[:32]


def of_group(digests: Sequence[str]) -> list[str]:
    """Return digests of images that are encoded together: each depends on all of the group.

    An image by itself keeps its own.
    """
    if len(digests) == 1:
        return list(digests)
    names = [f"{place} of {' '.join(digests)}" for place in range(len(digests))]
    return [hashlib.sha256(name.encode()).hexdigest()[:32] for name in names]


def _weights(base: "Base") -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors of the image encoder, those between its modules included."""
    parents = dict.fromkeys(path.rpartition(".")[0] for path in base.family.VISION_CHAIN)
    for path in parents:  # BLIP-2's query tokens are no module's but the model's
        yield from base.model.get_submodule(path).named_parameters(path, recurse=False)
    for path in base.family.VISION_CHAIN:
        for name, value in base.model.get_submodule(path).state_dict(prefix=f"{path}.").items():
            if isinstance(value, torch.Tensor):
                yield name, value


def _add(whole: "hashlib._Hash", name: str, tensor: torch.Tensor) -> None:
    whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    whole.update(flat.view(torch.uint8).numpy().data)
