"""Pixels as bytes: the numbers that are made of them are those of the processor, to the last bit."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor

from workers.data.sample import Sample
from workers.encoding import collation
from workers.families.base import Base
from workers.families.git import FAMILY
from workers.families.pixel_bytes import PixelBytes
from workers.features.decoding import DecoderPool, PixelSource
from workers.tiny import architectures
from workers.tiny.checkpoints import VARIANTS

SIZES = [(64, 48), (40, 2000), (2000, 40), (1, 1), (331, 97), (900, 700)]


def noise(width, height):
    random = np.random.default_rng(width)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8))


def base_of(processor):
    """A base of a processor alone, whose images are what its image processor makes of them."""
    parts = SimpleNamespace(image_processor=processor)
    return Base(model=None, processor=parts, family=FAMILY, device=torch.device("cpu"))


@pytest.fixture(params=[*VARIANTS, *architectures.ARCHITECTURES])
def base(request, architecture):
    return base_of(AutoImageProcessor.from_pretrained(architecture(request.param), backend="pil"))


def test_bytes_become_the_processors_own_numbers(base):
    sizes = [size for size in SIZES if size != (1, 1) or "qwen" not in str(base.processor).lower()]
    samples = [Sample(id=f"{size}", open=partial(noise, *size), captions=()) for size in sizes]
    source = PixelSource.of(base, samples)
    for index, sample in enumerate(samples):
        kept, wanted = source.make(index), base.family.encode(base, sample.open())
        assert kept["pixel_values"].dtype == torch.uint8
        numbers = collation.on_device(base, kept)
        assert numbers.keys() == wanted.keys()
        assert all(torch.equal(numbers[name], wanted[name]) for name in wanted)


class Padding:
    """An image processor that pads behind its arithmetic."""

    def __init__(self, own):
        self._own = own

    def __getattr__(self, name):
        return getattr(self._own, name)

    def __call__(self, images, return_tensors):
        own = self._own
        for option in ("do_rescale", "do_normalize"):
            setattr(own, option, vars(self).get(option, True))
        made = own(images=images, return_tensors=return_tensors)
        pixels = torch.nn.functional.pad(made["pixel_values"], (0, 4))
        return {**made, "pixel_values": pixels}


def test_a_processor_that_does_something_else_keeps_its_numbers(architecture):
    own = AutoImageProcessor.from_pretrained(architecture("git"), backend="pil")
    base = base_of(Padding(own))
    assert PixelBytes.of(base) is None
    sample = Sample(id="0", open=partial(noise, 30, 20), captions=())
    made = PixelSource.of(base, [sample]).make(0)["pixel_values"]
    assert made.dtype == torch.float32 and not made[..., -4:].any()


def test_files_of_bytes_are_not_taken_for_those_of_numbers(architecture, tmp_path):
    base = base_of(AutoImageProcessor.from_pretrained(architecture("git"), backend="pil"))
    sample = Sample(id="0", open=partial(noise, 30, 20), captions=(), digest="0" * 64)
    source = PixelSource.of(base, [sample])
    pool = DecoderPool(1, tmp_path)
    pool.take(source, 0)
    (file,) = tmp_path.glob("*/*")
    assert file.parent.name == f"{source.processor_digest}-bytes"  # numbers lay beside it
    assert file.stat().st_size < 32 * 32 * 3 * 2
    pool.close()
