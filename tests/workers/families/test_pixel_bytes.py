"""Pixels as bytes: the numbers made of them are those of the processor, to the last bit."""

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
from workers.features.decoding import DecoderPool, PixelSource
from workers.tiny import architectures

NUMBERS = ("deepseek_vl_hybrid", "mllama")
"""One has two tensors of pixels, the other zeros in place of the tiles that an image lacks."""
SIZES = [(64, 48), (40, 2000), (2000, 40), (1, 1), (331, 97), (900, 700)]


def noise(width, height):
    random = np.random.default_rng(width)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8))


def base_of(processor):
    """A base of a processor alone, whose images are what its image processor makes of them."""
    parts = SimpleNamespace(image_processor=processor)
    return Base(model=None, processor=parts, family=FAMILY, device=torch.device("cpu"))


@pytest.fixture(params=architectures.ARCHITECTURES)
def name(request):
    return request.param


@pytest.fixture
def base(name, checkpoints):
    try:
        own = AutoImageProcessor.from_pretrained(checkpoints(name), backend="pil")
    except ValueError as error:
        if "torchvision" not in str(error):
            raise
        pytest.skip("its image processor needs torchvision")
    return base_of(own)


def test_bytes_become_the_processors_own_numbers(name, base):
    samples = [Sample(id=f"{size}", open=partial(noise, *size), captions=()) for size in SIZES]
    source = PixelSource.of(base, samples)
    for index, sample in enumerate(samples):
        kept, wanted = source.make(index), base.family.encode(base, sample.open())
        assert (kept["pixel_values"].dtype == torch.uint8) == (name not in NUMBERS)
        for key, own in collation.with_numbers(base, kept).items():
            assert torch.equal(torch.as_tensor(own), torch.as_tensor(wanted.pop(key)))
        assert not wanted


@pytest.mark.parametrize("name", ["gemma4", "llava_next", "qwen3_vl", "smolvlm"])
def test_images_of_unlike_shapes_are_filled_up_with_the_processors_zeros(name, base):
    samples = [Sample(id=f"{size}", open=partial(noise, *size), captions=()) for size in SIZES[:3]]
    source = PixelSource.of(base, samples)
    kept = [source.make(index) for index in range(3)]
    wanted = [base.family.encode(base, sample.open()) for sample in samples]
    joined = collation.on_device(base, collation.stacked(base, kept))
    for key, own in collation.stacked(base, wanted).items():
        assert torch.equal(joined[key], own)


def test_files_of_bytes_are_not_taken_for_those_of_numbers(checkpoints, tmp_path):
    base = base_of(AutoImageProcessor.from_pretrained(checkpoints("git"), backend="pil"))
    sample = Sample(id="0", open=partial(noise, 30, 20), captions=(), digest="0" * 64)
    source = PixelSource.of(base, [sample])
    pool = DecoderPool(1, tmp_path)
    pool.take(source, 0)
    (file,) = tmp_path.glob("*/*")
    assert file.parent.name == f"{source.processor_digest}-bytes"  # numbers lay beside it
    assert file.stat().st_size < 32 * 32 * 3 * 2
    pool.close()
