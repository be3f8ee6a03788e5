"""Image features, each computed once: their store, and the bypass by which batches carry them.

Batches that carry features bypass the image encoder, in `forward` and in `generate` alike. Features
are passed under the name of the pixels, as (rows, 1, tokens, width). Pixels never have that shape:
they have three channels there, or fewer axes. Each module on the way from pixels to features
returns such a tensor as its own output, and computes everything else. So batches with features and
batches with pixels can take turns on one model, and whatever a model does with pixels (beam search
repeats them) it does with features.

A store is in its device's memory, and beyond that on disk. Its keys are digests of all that
features depend on, the image encoder and the image: nothing kept under them can be stale.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from workers.encoding import collation
from workers.families.base import Base, Encoded
from workers.features.files import TensorFiles, size_of
from workers.files import cache

KEY = "pixel_values"
"""What every family calls the tensor that its image encoder reads."""
CPU_BYTES = 2 * 1024**3
"""Memory for the features of one base on a CPU."""
GPU_SHARE = 1 / 16
"""Share of a GPU's memory for the same."""
DISK_BYTES = 16 * 1024**3
"""Disk for the features of all bases of this user."""
_PLACES = ("_name_or_path", "transformers_version")
"""Keys of a config that name its origin."""


class Store:
    """The features of one base by digest of the image.

    Nothing is evicted from memory: the images of an epoch all come back in the next, and making
    room for one would only cost another. What does not fit goes to disk, where the operating
    system's own cache holds what is read again.
    """

    def __init__(self, base: Base, memory: int, disk: TensorFiles) -> None:
        self.base = base
        self._left = memory
        self._kept: dict[str, Encoded] = {}
        self._disk = disk
        self.seconds: list[float] = []
        """What the image encoder took for each image that it was given."""

    @classmethod
    def of(cls, base: Base) -> "Store | None":
        """Return the store of a bare base, which from now on takes features in place of pixels.

        None for a base whose features come from unknown modules.
        """
        if not base.family.VISION_CHAIN:
            return None
        install_bypass(base)
        folder = cache.folder() / "features" / encoder_digest(base)
        memory = CPU_BYTES
        if base.device.type == "cuda":
            total = torch.cuda.get_device_properties(base.device).total_memory
            memory = int(total * GPU_SHARE)
        return cls(base, memory, TensorFiles(folder, DISK_BYTES))

    def get(self, key: str) -> Encoded | None:
        """Return what is kept under `key`, its features on the base's device, or None."""
        if key in self._kept:
            return self._kept[key]
        found = self._disk.get(key)
        return found and found | collation.on_device({KEY: found[KEY]}, self.base.device)

    def __contains__(self, key: str) -> bool:
        return key in self._kept or key in self._disk

    def put(self, key: str, features: Encoded) -> bool:
        """Keep features under `key`; return whether there was room for them."""
        size = size_of(features)
        if size > self._left:
            return self._disk.put(key, features)
        self._left -= size
        self._kept[key] = features
        return True

    def move_to_disk(self) -> bool:
        """Free the memory: all goes to disk, from now on, too. Return whether there was any."""
        kept, self._kept, self._left = self._kept, {}, 0
        for key, features in kept.items():
            self._disk.put(key, features)
        return bool(kept)


def install_bypass(base: Base) -> None:
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


def encoder_digest(base: Base) -> str:
    """Return the digest of all that turns prepared images into features, 32 hexadecimal digits.

    These are the weights as they are stored (quantized or not, and in which type), configuration,
    device and versions of the libraries. The base must be bare; about a second per GB.
    """
    config = {k: v for k, v in base.model.config.to_dict().items() if k not in _PLACES}
    versions = torch.__version__, transformers.__version__, base.device.type
    whole = hashlib.sha256(json.dumps([config, *versions], sort_keys=True, default=str).encode())
    for name, tensor in _encoder_weights(base):
        _add_to_digest(whole, name, tensor)
    return whole.hexdigest()[:32]


def image_digest(encoded: Encoded) -> str:
    """Return the digest of a prepared image: its content, and what the processor made of it."""
    whole = hashlib.sha256()
    for name, tensor in sorted(encoded.items()):
        _add_to_digest(whole, name, tensor)
    return whole.hexdigest()[:32]


def group_digests(digests: Sequence[str]) -> list[str]:
    """Return digests of images that are encoded together: each depends on all of the group.

    An image by itself keeps its own.
    """
    if len(digests) == 1:
        return list(digests)
    names = [f"{place} of {' '.join(digests)}" for place in range(len(digests))]
    return [hashlib.sha256(name.encode()).hexdigest()[:32] for name in names]


def _encoder_weights(base: Base) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of the image encoder, those between its modules included."""
    parents = dict.fromkeys(path.rpartition(".")[0] for path in base.family.VISION_CHAIN)
    for path in parents:  # BLIP-2's query tokens are no module's but the model's
        yield from base.model.get_submodule(path).named_parameters(path, recurse=False)
    for path in base.family.VISION_CHAIN:
        for name, value in base.model.get_submodule(path).state_dict(prefix=f"{path}.").items():
            if isinstance(value, Tensor):
                yield name, value


def _add_to_digest(whole: "hashlib._Hash", name: str, tensor: Tensor) -> None:
    whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    whole.update(flat.view(torch.uint8).numpy().data)
