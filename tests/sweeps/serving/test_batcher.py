"""Images of concurrent calls share a `generate`, and none suffers from another."""

import threading
from collections import Counter

import pytest

from sweeps.serving import batcher as batcher_module
from sweeps.serving.batcher import Batcher, Call
from sweeps.serving.caption import load
from workers.inference.caption_requests import CaptionRequest
from workers.inference.captioner import BATCH

from .conftest import COLORS, NAME, busy, encoded, picture


@pytest.fixture(scope="module")
def captioner(shop):
    return load(f"models:/{NAME}/1", shop.results)


@pytest.fixture
def batcher(monkeypatch):
    monkeypatch.setattr(batcher_module, "WAIT", 0.2)
    made = Batcher()
    yield made
    made.close()


def handed_in(batcher, captioner, *images, call=None):
    """Hand images in, each as a call of its own unless one is given; return their captions."""
    captions = []
    for image in images:
        into = call or Call()
        batcher.submit(captioner, [image], into)
        captions.append(into.captions[-1])
    return captions


def prepared(captioner, color, tokens=6):
    request = CaptionRequest(image=encoded(picture(color)), max_new_tokens=tokens)
    return captioner.prepare(request, color)


def test_images_that_come_together_are_written_together(batcher, captioner, shop):
    futures = handed_in(batcher, captioner, *(prepared(captioner, color) for color in COLORS))
    written = [future.result(30) for future in futures]
    assert written == shop.says(NAME, "1", [picture(color) for color in COLORS])
    assert (batcher.images, batcher.batches) == (len(COLORS), 1)


def test_each_length_has_its_own_generate(batcher, captioner):
    lengths = (3, 9, 3, 9)
    futures = handed_in(batcher, captioner, *(prepared(captioner, "red", n) for n in lengths))
    short, long, again, last = (future.result(30) for future in futures)
    assert (short, long) == (again, last)
    assert len(short) < len(long)
    assert batcher.batches == 2


def test_a_full_batch_waits_for_nobody(captioner, monkeypatch):
    monkeypatch.setattr(batcher_module, "WAIT", 3600)
    made = Batcher()
    one = prepared(captioner, "red", 2)
    futures = handed_in(made, captioner, *[one] * BATCH)
    assert len({future.result(30) for future in futures}) == 1
    made.close()


def test_one_image_that_fails_leaves_the_others_their_captions(batcher, captioner):
    good = prepared(captioner, "red")
    broken = type(good)(image=good.image, prompt=None, max_new_tokens=6)
    futures = handed_in(batcher, captioner, good, broken, good)
    assert futures[0].result(30) == futures[2].result(30) != ""
    with pytest.raises(AttributeError):
        futures[1].result(30)


def test_what_changes_the_model_is_done_between_batches(batcher, captioner):
    [first] = handed_in(batcher, captioner, prepared(captioner, "red"))
    assert batcher.run(lambda: (first.done(), threading.current_thread().name)) == (True, "batcher")
    with pytest.raises(ZeroDivisionError):
        batcher.run(lambda: 1 // 0)
    [again] = handed_in(batcher, captioner, prepared(captioner, "red"))
    assert again.result(30) == first.result()


def test_an_image_that_nobody_waits_for_any_more_is_left_out(batcher, captioner):
    [future] = handed_in(batcher, captioner, prepared(captioner, "red"))
    [other] = handed_in(batcher, captioner, prepared(captioner, "blue"))
    assert future.cancel()
    other.result(30)
    assert batcher.images == 1


def test_closing_answers_what_was_handed_in(captioner, monkeypatch):
    monkeypatch.setattr(batcher_module, "WAIT", 3600)
    made = Batcher()
    [future] = handed_in(made, captioner, prepared(captioner, "red"))
    made.close()
    assert future.done()


def test_a_small_call_passes_large_ones_and_large_ones_share(captioner):
    made, one, order = Batcher(), prepared(captioner, "red", 2), []
    with busy(made):
        for name, images in {"large": 40, "also large": 40, "small": 1}.items():
            for caption in handed_in(made, captioner, *[one] * images, call=Call()):
                caption.add_done_callback(lambda _, name=name: order.append(name))
    assert made.close()
    assert Counter(order[:BATCH]) == {"large": 8, "also large": 7, "small": 1}
    assert len(order) == 81
    assert made.held == 0


def test_closing_in_a_hurry_gives_up_what_has_not_begun(captioner):
    made = Batcher()
    with busy(made):
        [future] = handed_in(made, captioner, prepared(captioner, "red"))
        assert not made.close(0.01)
        assert future.cancelled()
    assert made.close(30)
