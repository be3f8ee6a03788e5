"""What a host's device is expected to hold, with made-up readings in place of a GPU's."""

import pytest
import torch

from workers.measures import MemoryReading
from workers.memory.device import MOST_CAPTIONS, DeviceMemory, group_of
from workers.memory.fit import USABLE, Device
from workers.memory.footprint import Correction, estimate
from workers.memory.layers import Architecture, DataExtent
from workers.memory.weights import ROUNDED_BYTES, TRAINED_BYTES
from workers.models import checkpoint_files


@pytest.fixture
def recipe(recipe):
    return recipe.with_point({"train.batch_size": 8})


@pytest.fixture
def one(recipe):
    """The estimate of one such trial with one row."""
    files = checkpoint_files.find(recipe.model.base, None)
    return estimate(recipe, Architecture.of(files), gpu=True, rows=1)


@pytest.fixture
def make(recipe):
    """Return a function: bytes of a GPU, names -> its memory with such trials open."""

    def made(size, names=("one",)):
        found = DeviceMemory(Device(gpu=True, bytes=size / USABLE))
        for name in names:
            found.open(name, recipe)
        return found

    return made


def took(passing):
    return MemoryReading(peak=1e9 + passing, held=1e9)


def test_as_many_rows_as_fit_beside_all_slots(make, one):
    two = ("one", "two")
    room = one.fixed + one.adapter + 1
    assert make(room + 16 * one.step, names=two).rows(two, 8) == 8
    assert make(room + 15 * one.step, names=two).rows(two, 8) == 4
    assert make(room + 15 * one.step, names=two).rows(["two"], 8) == 8  # one trains, both are there
    assert make(one.base, names=two).rows(two, 8) == 1


def test_a_slot_that_is_closed_and_a_base_that_left_make_room(make, one, recipe):
    known = make(one.fixed + 8 * one.step + 1, names=("one", "two"))
    assert known.rows(["one"], 8) == 4
    known.close("two")
    assert known.rows(["one"], 8) == 8
    known.open("other", recipe.with_point({"model.dtype": "float32"}))
    assert known.rows(["one"], 8) < 8
    known.close("other")
    assert known.rows(["one"], 8) < 8  # its base is still there
    known.forget(group_of(recipe.with_point({"model.dtype": "float32"})))
    assert known.rows(["one"], 8) == 8


def test_nothing_is_limited_where_nothing_is_known(recipe):
    unknown = DeviceMemory()
    unknown.open("one", recipe)
    assert unknown.rows(["one"], 8) == 8
    small = DeviceMemory(Device(gpu=True, bytes=1.0))
    small.open("one", recipe.with_point({"model.base": "nobody/has-it"}))
    assert small.rows(["one"], 8) == 8


def test_a_step_that_took_more_makes_the_next_ones_smaller(make, one):
    known = make(one.fixed + 8 * one.step + 1)
    assert known.rows(["one"], 8) == 8
    known.trained(["one"], 8, took(12 * one.step))
    assert known.correction.training == pytest.approx(1.5)
    assert known.rows(["one"], 8) == 4
    known.trained(["one"], 8, took(4 * one.step))  # shorter captions
    assert known.rows(["one"], 8) == 4


def test_a_step_that_took_less_lets_more_rows_in(make, one):
    known = make(one.fixed + 4 * one.step + 1)
    assert known.rows(["one"], 8) == 4
    known.trained(["one"], 4, took(2.4 * one.step))
    assert known.correction.training == pytest.approx(0.6)
    assert known.rows(["one"], 8) == 4
    known = make(one.fixed + 5 * one.step + 1)
    known.trained(["one"], 4, took(2.4 * one.step))
    assert known.rows(["one"], 8) == 8


def test_captions_count_by_their_images_their_beams_and_who_writes_them(make, one):
    both = ("one", "two")
    known = make(1e9, both)
    known.wrote(["one"], beams=2, images=16, reading=took(one.generation))
    assert known.correction == Correction(writing=pytest.approx(1.0))
    known.wrote(both, beams=2, images=16, reading=took(2 * one.generation))
    assert known.correction == Correction(writing=pytest.approx(1.0))
    known.wrote(both, beams=1, images=8, reading=took(one.generation))
    assert known.correction == Correction(writing=pytest.approx(2.0))


def test_captions_are_written_for_as_many_images_as_fit(make, one):
    each = one.generation / 32  # one image with one beam: the estimate is for 16 with 2
    room = one.fixed + one.adapter + each / 2
    both = ("one", "two")
    known = make(room + 20 * each, both)
    assert known.captions(["one"], beams=1, images=8) == 8
    assert known.captions(["one"], beams=1, images=42) == 14  # 3 batches, none of 2 images
    assert known.captions(both, beams=1, images=42) == 9
    assert known.captions(both, beams=2, images=42) == 5
    known.wrote(["one"], beams=1, images=4, reading=took(8 * each))
    assert known.captions(["one"], beams=1, images=8) == 8
    assert known.captions(["one"], beams=1, images=42) == 9
    assert make(one.fixed).captions(["one"], beams=1, images=8) == 1
    assert make(1e15, both).captions(both, beams=2, images=10**6) == MOST_CAPTIONS // 4


def test_the_most_images_at_a_time_are_the_recipes_if_it_has_a_number(recipe):
    plenty = Device(gpu=True, bytes=1e15)
    for device, expected in ((plenty, 3), (Device(gpu=False, bytes=1e15), None), (None, None)):
        known = DeviceMemory(device)
        known.open("one", recipe.with_point({"evaluate.batch_size": 4}))
        assert known.captions(["one"], beams=1, images=9) == expected


def test_without_a_reading_nothing_is_corrected(make):
    known = make(1e9)
    known.trained(["one"], 8, None)
    known.wrote(["one"], beams=1, images=8, reading=None)
    assert known.correction == Correction()


def test_work_is_tried_once_more_when_room_could_be_made():
    tries = []

    def work():
        tries.append("again")
        if len(tries) == 1:
            torch.empty(2**55)
        return "done"

    assert DeviceMemory(make_room=lambda: True).attempt(work) == "done"
    tries.clear()
    with pytest.raises(RuntimeError):
        DeviceMemory(make_room=lambda: False).attempt(work)
    assert tries == ["again"]


def test_other_errors_make_no_room():
    def broken():
        raise ValueError("no such thing")

    asked = []
    with pytest.raises(ValueError, match="no such thing"):
        DeviceMemory(make_room=lambda: asked.append("room") or True).attempt(broken)
    assert asked == []


def test_a_base_without_a_family_of_its_own_is_estimated_too(llava, recipe):
    own = recipe.with_point({"model.base": str(llava)})
    known = DeviceMemory(Device(gpu=True, bytes=24e9))
    known.open("one", own)
    assert known.rows(["one"], 8) == 8
    assert known.correction == Correction()


def test_an_arena_has_the_rank_and_the_layers_of_its_widest_slot_and_rows_in_reserve(recipe, one):
    files = checkpoint_files.find(recipe.model.base, None)
    small, wide, narrow = (
        recipe.with_point({"adapter.targets": name, "adapter.rank": rank})
        for name, rank in (("text", 4), ("vision", 20), ("text", 8))
    )

    def held(*open_trials):
        """Return the bytes of adapters that leave room for just one row."""
        known = DeviceMemory(Device(gpu=True, bytes=1e12))
        for number, (name, own) in enumerate(open_trials):
            known.open(str(number), own, pack=name)
        return known._adapter_bytes()

    stored = TRAINED_BYTES + ROUNDED_BYTES
    row = stored * (files.adapter_weights("text", 24) + files.adapter_weights("vision", 24))
    assert held(("p", small)) == stored * files.adapter_weights("text", 8)
    assert held(("p", small), ("p", wide)) == 2 * row
    assert held(("p", small), ("p", wide), ("p", narrow)) == 4 * row  # its capacity
    alone = TRAINED_BYTES * files.adapter_weights("text", 8)
    assert held(("p", small), ("p", wide), (None, narrow)) == 2 * row + alone
    assert held(("p", small), ("q", narrow)) == 2 * stored * files.adapter_weights("text", 8)


def test_an_arena_narrows_only_when_it_is_empty(recipe):
    known = DeviceMemory(Device(gpu=True, bytes=1e12))
    for name, rank in (("small", 8), ("wide", 64), ("third", 8)):
        known.open(name, recipe.with_point({"adapter.rank": rank}), pack="p")
    whole = known._adapter_bytes()
    known.close("wide")
    assert known._adapter_bytes() == whole
    known.close("small")
    known.close("third")
    assert known._adapter_bytes() == 0
    known.open("small", recipe.with_point({"adapter.rank": 8}), pack="p")
    assert known._adapter_bytes() == whole / 4 / 8  # a row, of an eighth of the rank


def test_features_that_may_be_kept_take_room_as_far_as_there_are_images(recipe, one):
    room = one.fixed + 8 * one.step + 1
    device, few = Device(gpu=True, bytes=room / USABLE), DataExtent(images=1, question=0, caption=9)
    allowed = [one.step]
    known = DeviceMemory(device, features=lambda: allowed[-1])
    known.open("one", recipe)
    assert known.rows(["one"], 8) == 4  # of data that is not known all may be kept
    allowed.append(0)  # they have left the device
    assert known.rows(["one"], 8) == 8
    known = DeviceMemory(device, features=lambda: one.step)
    known.open("one", recipe, data=few)
    assert known.rows(["one"], 8) == 8


def test_the_longest_caption_of_the_data_counts_once_it_is_known(recipe, one):
    device = Device(gpu=True, bytes=(one.fixed + 8 * one.step + 1) / USABLE)
    found = []
    for caption in (9, 3 * 64, 3 * 640):
        known = DeviceMemory(device)
        data = DataExtent(images=1, question=0, caption=caption)
        known.open("one", recipe.with_point({"evaluate.max_new_tokens": 4}), data=data)
        found.append(known.rows(["one"], 8))
    assert found[0] == 8
    assert found[0] > found[1] > found[2]
