"""Decoders: the same pixels as without them, once for all hosts, and what happens when one dies."""

import os
import time
from dataclasses import replace
from functools import partial
from hashlib import sha256

import pytest
import torch
from PIL import Image

from workers.data.images import ImageError, open_rgb
from workers.data.sample import Sample
from workers.features import decoding, images
from workers.features.decoding import DecoderPool, PixelSource
from workers.features.files import TensorFiles
from workers.features.images import Features, Pixels, batch_that_fits
from workers.features.store import Allowance, Store
from workers.models.adapters import AdaptedBase
from workers.models.loading import load_base
from workers.recipe import Adapter, Model, Train
from workers.training.loop import Examples, train_epoch
from workers.training.optimizer import AdapterOptimizer


@pytest.fixture(scope="module")
def base(checkpoints):
    return load_base(Model(base=str(checkpoints("git"))), "none", torch.device("cpu"))


@pytest.fixture
def photos(tmp_path):
    made = []
    for number in range(6):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (40, 30), (number * 40, 20, 200)).save(path)
        digest = sha256(path.read_bytes()).hexdigest()
        made.append(
            Sample(id=path.name, open=partial(open_rgb, path), captions=(f"no {number}",),
                   digest=digest)
        )  # fmt: skip
    return made


@pytest.fixture
def pool(tmp_path):
    pool = DecoderPool(1, tmp_path / "pixels")
    yield pool
    pool.close()


def wait(pool):
    deadline = time.monotonic() + 60
    while pool.queued:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_pixels_are_those_that_the_host_would_make_in_files_or_not(base, photos, pool):
    drawn = [replace(photo, digest=None) for photo in photos]
    for samples in (photos, drawn):
        source = PixelSource.of(base, samples)
        for index in range(3):
            pool.expect(source, index)
        wait(pool)
        assert [pool.has(source, index) for index in range(4)] == [True] * 3 + [False]
        for index in range(4):  # the last was not expected
            assert equal(pool.take(source, index), source.make(index))


def test_what_one_host_has_decoded_another_one_only_reads(base, photos, pool, tmp_path):
    pool.expect(PixelSource.of(base, photos), 0)
    wait(pool)
    (tmp_path / "0.png").unlink()
    beside = DecoderPool(1, tmp_path / "pixels")
    source = PixelSource.of(base, photos)
    assert beside.has(source, 0)
    assert beside.take(source, 0)["pixel_values"].shape[1] == 3
    beside.close()
    assert not [*tmp_path.glob("pixels/*/*")]


def test_a_damaged_image_is_an_error_of_its_own_step(base, photos, pool, tmp_path):
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:60])
    pixels = Pixels(base, photos, decoders=pool)
    pixels.expect(range(3))
    wait(pool)
    with pytest.raises(ImageError, match=r"1\.png: cannot be decoded"):
        pixels.of([0, 1])
    assert len(pixels.of([0, 2])) == 2


def test_an_image_that_kills_its_decoder_is_named_and_no_other(base, photos, pool):
    broken = [*photos[:2], replace(photos[2], open=partial(os._exit, 1)), *photos[3:]]
    pixels = Pixels(base, broken, decoders=pool)
    pixels.expect([2, 0, 1])
    wait(pool)
    with pytest.raises(ImageError, match=r"2\.png: the process that decodes it died"):
        pixels.of([2])
    assert len(pixels.of([0, 1])) == 2
    pixels.expect([3])  # by new decoders
    wait(pool)
    assert pixels.ready([3])


def test_what_cannot_be_given_to_a_decoder_is_decoded_here(base, photos, pool):
    local = [replace(photo, open=lambda own=photo.open: own()) for photo in photos]
    pixels = Pixels(base, local, decoders=pool)
    with pytest.warns(UserWarning, match="decoders cannot be given this data set"):
        pixels.expect([0])
    assert not pool.queued
    assert len(pixels.of([0])) == 1


def test_images_that_nobody_takes_make_room_for_others(base, photos, pool, monkeypatch):
    """Such as those of a trial that was stopped."""
    monkeypatch.setattr(decoding, "MOST_QUEUED", 2)
    source = PixelSource.of(base, [replace(photo, digest=None) for photo in photos])
    for index in (0, 1, 2):
        pool.expect(source, index)
        wait(pool)
    assert [pool.has(source, index) for index in (0, 1, 2)] == [True, True, False]
    monkeypatch.setattr(decoding, "UNTAKEN_SECONDS", 0.0)
    for _ in range(2):  # what makes room does not wait for it
        pool.expect(source, 3)
    wait(pool)
    assert [pool.has(source, index) for index in (0, 1, 2, 3)] == [False, False, False, True]


def losses(base, examples):
    """Of one epoch of a new adapter."""
    adapted = AdaptedBase(base)
    adapted.attach("one", Adapter(rank=2, dropout=0.0), seed=1)
    optimizer = AdapterOptimizer(adapted.named_parameters("one"), Train())
    found = list(train_epoch(base, adapted.model, optimizer, examples, Train(batch_size=1), 0))
    adapted.detach("one")
    return found


@pytest.mark.parametrize("on", ["pixels", "features"])
def test_steps_with_decoders_are_those_without_and_their_waits_are_counted(
    base, photos, pool, store, on
):
    kept = store if on == "features" else None
    alone, ahead = (Examples.of(base, photos, None, kept, own) for own in (None, pool))
    ahead.expect(range(6))
    wait(pool)
    assert losses(base, alone) == losses(base, ahead)
    # Without decoders each image is a wait. On a CPU the first step makes the features of all.
    assert alone.image_waits["waits"] == (1 if kept else 6)
    assert alone.image_waits["last"] == (1 if kept else 6)
    assert alone.image_waits["seconds"] > 0
    assert ahead.image_waits["waits"] == 0


def test_on_a_gpu_all_features_are_made_before_the_first_step(base, photos, pool, store):
    shown = []
    examples = Examples.of(base, photos * 10, None, store, pool)
    examples.pixels._grouped = False  # as on a GPU
    examples.pixels.prepare(lambda done, count: shown.append((done, count)))
    assert shown[0] == (16, 60)
    assert shown[-1] == (60, 60)
    assert losses(base, examples)
    assert examples.image_waits["waits"] == 0


def test_features_on_disk_are_found_without_the_image(base, photos, pool, tmp_path):
    for _ in range(2):
        files = TensorFiles(tmp_path / "features" / "git", 10**8)
        features = Features(photos[:2], Store(base, Allowance(0), files), pool)
        features._grouped = False  # as on a GPU
        assert len(features.of([0, 1])) == 2
        (tmp_path / "0.png").unlink(missing_ok=True)


def test_the_largest_batch_is_of_half_the_free_memory():
    assert batch_that_fits(1e6, 2e8) == 100
    assert batch_that_fits(1e6, 0) == images.BATCH
    assert batch_that_fits(1.0, 1e12) == images.LARGEST_BATCH
