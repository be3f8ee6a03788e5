"""Images of concurrent calls share a `generate`, and none suffers from another."""

import threading
from collections import Counter

import pytest

from sweeps.serving import batcher as batcher_module
from sweeps.serving.batcher import Batcher, Call
from sweeps.serving.caption import load
from workers.caption_requests import CaptionRequest
from workers.captioner import BATCH

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


def prepared(captioner, color, tokens=6):
    request = CaptionRequest(image=encoded(picture(color)), max_new_tokens=tokens)
    return captioner.prepare(request, color)


def test_images_that_come_together_are_written_together(batcher, captioner, shop):
    futures = [batcher.submit(captioner, prepared(captioner, color), Call()) for color in COLORS]
    written = [future.result(30) for future in futures]
    assert written == shop.says(NAME, "1", [picture(color) for color in COLORS])
    assert (batcher.images, batcher.batches) == (len(COLORS), 1)


def test_each_length_has_its_own_generate(batcher, captioner):
    lengths = (3, 9, 3, 9)
    futures = [batcher.submit(captioner, prepared(captioner, "red", n), Call()) for n in lengths]
    short, long, again, last = (future.result(30) for future in futures)
    assert (short, long) == (again, last)
    assert len(short) < len(long)
    assert batcher.batches == 2


def test_a_full_batch_waits_for_nobody(captioner, monkeypatch):
    monkeypatch.setattr(batcher_module, "WAIT", 3600)
    made = Batcher()
    one = prepared(captioner, "red", 2)
    futures = [made.submit(captioner, one, Call()) for _ in range(BATCH)]
    assert len({future.result(30) for future in futures}) == 1
    made.close()


def test_one_image_that_fails_leaves_the_others_their_captions(batcher, captioner):
    good = prepared(captioner, "red")
    broken = type(good)(image=good.image, prompt=None, max_new_tokens=6)
    futures = [batcher.submit(captioner, one, Call()) for one in (good, broken, good)]
    assert futures[0].result(30) == futures[2].result(30) != ""
    with pytest.raises(AttributeError):
        futures[1].result(30)


def test_what_changes_the_model_is_done_between_batches(batcher, captioner):
    first = batcher.submit(captioner, prepared(captioner, "red"), Call())
    assert batcher.run(lambda: (first.done(), threading.current_thread().name)) == (True, "batcher")
    with pytest.raises(ZeroDivisionError):
        batcher.run(lambda: 1 // 0)
    assert (
        batcher.submit(captioner, prepared(captioner, "red"), Call()).result(30) == first.result()
    )


def test_an_image_that_nobody_waits_for_any_more_is_left_out(batcher, captioner):
    future = batcher.submit(captioner, prepared(captioner, "red"), Call())
    other = batcher.submit(captioner, prepared(captioner, "blue"), Call())
    assert future.cancel()
    other.result(30)
    assert batcher.images == 1


def test_closing_answers_what_was_handed_in(captioner, monkeypatch):
    monkeypatch.setattr(batcher_module, "WAIT", 3600)
    made = Batcher()
    future = made.submit(captioner, prepared(captioner, "red"), Call())
    made.close()
    assert future.done()


def test_a_small_call_passes_large_ones_and_large_ones_share(captioner):
    made, one, order = Batcher(), prepared(captioner, "red", 2), []
    calls = {"large": Call(), "also large": Call()}
    with busy(made):
        futures = [
            (name, made.submit(captioner, one, calls[name])) for name in calls for _ in range(40)
        ]
        futures.append(("small", made.submit(captioner, one, Call())))
        for name, future in futures:
            future.add_done_callback(lambda _, name=name: order.append(name))
    assert made.close()
    assert Counter(order[:BATCH]) == {"large": 8, "also large": 7, "small": 1}
    assert len(order) == 81
    assert made.held == 0


def test_closing_in_a_hurry_gives_up_what_has_not_begun(captioner):
    made = Batcher()
    with busy(made):
        future = made.submit(captioner, prepared(captioner, "red"), Call())
        assert not made.close(0.01)
        assert future.cancelled()
    assert made.close(30)
