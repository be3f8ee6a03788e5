"""Image features, each computed once: their store, and the bypass by which batches carry them.

Batches that carry features bypass the image encoder, in `forward` and in `generate` alike. Features
are passed under the name of the pixels, as (rows, 1, tokens, width). Pixels never have that shape:
they have three channels there, or fewer axes. Each module on the way from pixels to features
returns such a tensor as its own output, and computes everything else. So batches with features and
batches with pixels can take turns on one model, and whatever a model does with pixels (beam search
repeats them) it does with features.

A store is in its device's memory, beyond that in the machine's if that is another one, and beyond
that on disk. Its keys are digests of all that
features depend on, the image encoder and the image: nothing kept under them can be stale.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from workers.encoding.collation import to_device
from workers.families.base import Base, Encoded
from workers.families.pixel_bytes import KEY
from workers.features import door
from workers.features.door import are_features
from workers.features.files import TensorFiles, size_of
from workers.files import cache

CPU_BYTES = 2 * 1024**3
"""Memory for the features of all bases on a CPU."""
DISK_BYTES = 16 * 1024**3
"""Disk for the features of all bases of this user."""
_PLACES = ("_name_or_path", "transformers_version")
"""Keys of a config that name its origin."""


@dataclass
class Allowance:
    """Bytes of one memory that the stores of a host may take, all together."""

    total: int
    used: int = 0

    def take(self, size: int) -> bool:
        """Take so many bytes; return whether they were left."""
        fits = self.used + size <= self.total
        self.used += size if fits else 0
        return fits

    def revoke(self) -> None:
        """Leave nothing to take from now on; what was taken has been given back."""
        self.total = self.used = 0


class Store:
    """The features of one base by digest of the image.

    Nothing is evicted from memory: the images of an epoch all come back in the next, and making
    room for one would only cost another. What does not fit goes to disk, where the operating
    system's own cache holds what is read again.

    Args:
        base: the base.
        memory: what is left of the device's.
        disk: the files beyond.
        beside: what is left of the machine's memory beside a GPU.
    """

    def __init__(
        self, base: Base, memory: Allowance, disk: TensorFiles, beside: Allowance | None = None
    ) -> None:
        self.base = base
        self._memory, self._beside = memory, beside or Allowance(0)
        self._kept: dict[str, Encoded] = {}
        self._waiting: dict[str, Encoded] = {}
        """In the machine's memory, pinned: it is copied to a GPU without a wait."""
        self._disk = disk
        self.seconds: list[float] = []
        """What the image encoder took for each image that it was given."""

    @classmethod
    def of(
        cls, base: Base, memory: Allowance | None = None, beside: Allowance | None = None
    ) -> "Store | None":
        """Return the store of a bare base, which from now on takes features in place of pixels.

        None for a base whose features come from unknown modules.
        """
        if not base.family.vision:
            return None
        install_bypass(base)
        folder = cache.folder() / "features" / encoder_digest(base)
        files = TensorFiles(folder, DISK_BYTES)
        return cls(base, memory or Allowance(CPU_BYTES), files, beside)

    def get(self, key: str) -> Encoded | None:
        """Return what is kept under `key`, its features on the base's device, or None."""
        if key in self._kept:
            return self._kept[key]
        found = self._waiting.get(key) or self._disk.get(key)
        return found and {**found, KEY: to_device(found[KEY], self.base.device)}

    def __contains__(self, key: str) -> bool:
        return key in self._kept or key in self._waiting or key in self._disk

    def put(self, key: str, features: Encoded) -> bool:
        """Keep features under `key`; return whether there was room for them."""
        if not self._memory.take(size_of(features)):
            return self._put_beside(key, features)
        self._kept[key] = features
        return True

    def leave_device(self) -> bool:
        """Free the device's memory, also from now on. Return whether there was anything."""
        kept, self._kept = self._kept, {}
        self._memory.revoke()
        for key, features in kept.items():
            self._put_beside(key, features)
        return bool(kept)

    def _put_beside(self, key: str, features: Encoded) -> bool:
        if not self._beside.take(size_of(features)):
            return self._disk.put(key, features)
        moved = {name: tensor.cpu() for name, tensor in features.items()}
        if self.base.device.type == "cuda":
            moved = {name: tensor.pin_memory() for name, tensor in moved.items()}
        self._waiting[key] = moved
        return True


def install_bypass(base: Base) -> None:
    """Make the modules of a base pass features on; to do it twice changes nothing.

    Each module's `forward` is replaced on the instance, so that no path changes; by a `partial` of
    a bound method, so that a deep copy of the module (peft makes one to train it) calls its own
    weights. The places of image tokens are found without counting them each time.
    """
    for module in (base.model, getattr(base.model, "model", base.model)):
        own = getattr(module, "get_placeholder_mask", None)
        if own and not isinstance(own, _ImagePlaces):
            module.get_placeholder_mask = _ImagePlaces(own, base.family.image_token(base))
    if not base.family.VISION_CHAIN:
        door.install(base)
        return
    *_, last = base.family.VISION_CHAIN
    for path, field in base.family.VISION_CHAIN.items():
        module = base.model.get_submodule(path)
        if not (isinstance(module.forward, partial) and module.forward.func is _forward):
            module.forward = partial(_forward, module.forward, field, path == last)


class _ImagePlaces:
    """Stands for a model's `get_placeholder_mask`, which compares the number of image tokens with
    that of features and waits for the device to do so.

    The first batch of a base is compared. From then on they are equal as they are made: a prompt
    has as many image tokens as its image has features, see `Family.prompt_tokens`.
    """

    def __init__(self, own: Callable[..., Any], token: int | None) -> None:
        self._own, self._token = own, token
        self._form: tuple[int, int] | None = None
        """How many masks it returns, 0 for one that is in no tuple, and the axes of each; None
        before the first batch."""

    def __call__(self, input_ids: Tensor | None, *args: Any, **named: Any) -> Any:
        if self._form is None or input_ids is None or self._token is None:
            found = self._own(input_ids, *args, **named)
            several = isinstance(found, tuple)
            self._form = len(found) if several else 0, (found[0] if several else found).dim()
            return found
        count, axes = self._form
        places = input_ids == self._token
        places = places.unsqueeze(-1) if axes > places.dim() else places
        # The others are for videos and sounds, of which there are none.
        return (places, *[torch.zeros_like(places)] * (count - 1)) if count else places


def _forward(own: Callable[..., Any], field: str, is_last: bool, *args: Any, **named: Any) -> Any:
    """Return features as a module's output, in its `field` if it has one; compute all else."""
    for value in (*args, *named.values()):
        if isinstance(value, Tensor) and are_features(value):
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
    parents = dict.fromkeys(path.rpartition(".")[0] for path in base.family.vision)
    for path in parents:  # BLIP-2's query tokens are no module's but the model's
        yield from base.model.get_submodule(path).named_parameters(path, recurse=False)
    for path in base.family.vision:
        for name, value in base.model.get_submodule(path).state_dict(prefix=f"{path}.").items():
            if isinstance(value, Tensor):
                yield name, value


def _add_to_digest(whole: "hashlib._Hash", name: str, tensor: Tensor) -> None:
    whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    whole.update(flat.view(torch.uint8).numpy().data)
