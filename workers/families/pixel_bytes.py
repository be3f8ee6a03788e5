"""Pixels as bytes, as they are before a processor makes numbers of them.

After an image is resized, cropped and cut into patches, a processor scales each byte to 0..1, and
subtracts the mean of its colour and divides by the deviation. That makes 256 different numbers for
each colour, and four bytes of one. So images are kept, stored and copied to a GPU as bytes, and the
numbers are looked up on the device: in a table made by the processor's own arithmetic, so that they
are the very same. Processors that do something else (pad with zeros behind it, say) keep their
numbers; which ones is found by trying, not by their names.
"""

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

if TYPE_CHECKING:
    from workers.families.base import Base

KEY = "pixel_values"
"""What every family calls the tensor that its image encoder reads."""
_COLOURS = 3
_PROBES = (64, 48), (48, 64), (9, 9), (7, 210), (210, 7), (640, 420)
"""Widths and heights of the images with which a processor is tried: each shape may be padded or cut
in its own way."""


def _planes(tensor: Tensor) -> Tensor | None:
    """(..., colours, height, width)."""
    return tensor if tensor.dim() > 3 and tensor.shape[-3] == _COLOURS else None


def _patches(tensor: Tensor) -> Tensor | None:
    """(..., colours x places): flat patches, one colour behind the other."""
    divided = tensor.shape[-1] % _COLOURS == 0
    return tensor.reshape(*tensor.shape[:-1], _COLOURS, 1, -1) if divided else None


def _interleaved(tensor: Tensor) -> Tensor | None:
    """(..., places x colours): flat patches, the colours of each place side by side."""
    divided = tensor.shape[-1] % _COLOURS == 0
    return tensor.reshape(*tensor.shape[:-1], -1, _COLOURS, 1, 1) if divided else None


_LAYOUTS = (_planes, _patches, _interleaved)
"""Each returns a view whose third axis from the end is the colour, or None for another layout."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelBytes:
    """How the bytes of a processor become its numbers."""

    numbers: Tensor
    """(colours, 256) in float32."""
    layout: int
    """Place in `_LAYOUTS`."""

    @classmethod
    def of(cls, base: "Base") -> "PixelBytes | None":
        """Return that of a base's processor; None where bytes do not give its numbers back."""
        numbers = _numbers(base.processor.image_processor)
        if numbers is None:
            return None
        found = [cls(numbers=numbers, layout=place) for place in range(len(_LAYOUTS))]
        random = np.random.default_rng(0)
        for width, height in _PROBES:
            noise = random.integers(0, 256, (height, width, _COLOURS), np.uint8)
            image = Image.fromarray(noise)
            wanted, made = dict(base.family.encode(base, image)), as_bytes(base, image)
            pixels, packed = wanted.pop(KEY, None), made.pop(KEY, None)
            if pixels is None or packed is None or packed.dtype != torch.uint8:
                return None
            if any(not _equal(own, made[name]) for name, own in wanted.items()):
                return None
            found = [each for each in found if each._gives(packed, pixels)]
        return found[0] if found else None

    def unpack(self, pixels: Tensor) -> Tensor:
        """Return the numbers of bytes, on their device; numbers are returned as they are."""
        if pixels.dtype != torch.uint8:
            return pixels
        view = _LAYOUTS[self.layout](pixels)
        assert view is not None, "all images of a processor have one layout"
        numbers = self.numbers.to(pixels.device, non_blocking=True)
        first = torch.arange(0, numbers.numel(), 256, dtype=torch.int32, device=pixels.device)
        places = view.int() + first[:, None, None]
        return numbers.flatten().index_select(0, places.flatten()).view(pixels.shape)

    def _gives(self, packed: Tensor, wanted: Tensor) -> bool:
        """Return whether bytes become just these numbers."""
        fits = _LAYOUTS[self.layout](packed) is not None
        return fits and torch.equal(self.unpack(packed), wanted)


def as_bytes(base: "Base", image: Image.Image) -> dict[str, Tensor]:
    """Return `Family.encode` of an image without the processor's last arithmetic.

    Its pixels are bytes; where a processor leaves broken values they stay as they are.
    """
    processor = copy.copy(base.processor)
    processor.image_processor = copy.copy(processor.image_processor)
    processor.image_processor.do_rescale = processor.image_processor.do_normalize = False
    encoded = dict(base.family.encode(replace(base, processor=processor), image))
    if (pixels := encoded.get(KEY)) is not None:
        packed = pixels.to(torch.uint8)
        encoded[KEY] = packed if torch.equal(packed.to(pixels.dtype), pixels) else pixels
    return encoded


def _equal(one: Any, other: Any) -> bool:
    return torch.equal(one, other) if isinstance(one, Tensor) else bool(one == other)


def _numbers(processor: Any) -> Tensor | None:
    """Return the (colours, 256) numbers that an image processor makes of bytes, if it does so."""
    if not getattr(processor, "do_rescale", False):
        return None
    centres, factor = bool(getattr(processor, "do_normalize", False)), processor.rescale_factor
    mean, deviation = processor.image_mean, processor.image_std
    every = np.tile(np.arange(256, dtype=np.uint8), (_COLOURS, 1, 1))
    if hasattr(processor, "rescale_and_normalize"):  # of torchvision, which does both in one
        made = torch.from_numpy(every)
        made = processor.rescale_and_normalize(made, True, factor, centres, mean, deviation)
    else:
        scaled = processor.rescale(every, factor)
        made = torch.from_numpy(processor.normalize(scaled, mean, deviation) if centres else scaled)
    return made.float().squeeze(1)
