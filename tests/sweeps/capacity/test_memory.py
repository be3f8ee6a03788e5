"""What fits where, for sweeps over small bases."""

from dataclasses import replace

import pytest

from sweeps.capacity import memory
from sweeps.capacity.memory import Bases, Needs, auto_slots, capacity, corners, hosts_that_fit
from sweeps.spec.load import parse
from workers.files import cache
from workers.memory.fit import FEATURES_SHARE, USABLE, Device
from workers.memory.footprint import CPU_CONTEXT, Correction
from workers.memory.layers import DataExtent
from workers.memory.weights import ROUNDED_BYTES, TRAINED_BYTES, base_bytes
from workers.models import checkpoint_files
from workers.recipe import Model

GPU = Device(gpu=True, bytes=24e9)
MODEL = Model(base="of automatic precision")
SPACES = """
search: {space: {
  quantization: {choice: [none, nf4]}, adapter.rank: {choice: [4, 64]},
  train.batch_size: {choice: [2, 16]}, train.learning_rate: {log_uniform: [1e-5, 1e-3]}}}
"""


def size_for(one, slots):
    """Return the bytes of a GPU that holds so many trials, and just so much in kept features."""
    return (one.times(slots).total - one.features) / (USABLE - FEATURES_SHARE)


@pytest.fixture(scope="module")
def files(untrained_base):
    return checkpoint_files.find(str(untrained_base), None)


@pytest.fixture(scope="module")
def base(untrained_base, files):
    return Bases({(str(untrained_base), None): files})


@pytest.fixture
def sweep(untrained_base):
    """Return a function: further lines of the file -> sweep."""
    head = f"name: memory\nmodel: {{base: {untrained_base}}}\ndata: {{source: shapes}}\n"
    return lambda more=SPACES: parse(head + more)


def test_a_trial_needs_its_base_and_its_adapter(files, base, sweep):
    need = Needs(sweep(), base)
    small, large = (need({"adapter.rank": rank}) for rank in (4, 64))
    weights = files.adapter_weights(sweep().adapter.targets, 60)
    assert large - small > weights * TRAINED_BYTES > 0
    assert small > base_bytes(files, MODEL, "none", gpu=True)
    assert need({"adapter.rank": 4, "quantization": "nf4"}) != small


def test_a_need_is_that_of_one_row_whatever_the_batch(base, sweep):
    need = Needs(sweep(), base)
    assert need({"train.batch_size": 2}) == need({"train.batch_size": 16})
    one = capacity(sweep(), base, GPU).one
    assert need({"adapter.rank": 64, "train.batch_size": 16}) < one.total


def test_a_point_for_which_no_gpu_is_large_enough_is_refused(base, sweep):
    need = Needs(sweep(), base)
    point = {"adapter.rank": 64}
    assert need.refusal(point, need(point)) is None
    reason = need.refusal(point, 0.4e9)
    assert reason == "needs at least 1 GB, and the largest GPU has 0 GB"
    assert need.refusal(point, 0.0) is None  # nothing is known of the GPUs


def test_corners_hold_the_largest_values_and_every_kind(sweep):
    found = list(corners(sweep()))
    assert [recipe.quantization for recipe in found] == ["none", "nf4"]
    assert {(recipe.adapter.rank, recipe.train.batch_size) for recipe in found} == {(64, 16)}


def test_a_host_holds_the_bases_of_all_groups(files, base, sweep):
    found = capacity(sweep(), base, GPU)
    names = ("none", "nf4")
    assert found.one.base == sum(base_bytes(files, MODEL, name, gpu=True) for name in names)
    assert (found.largest.adapter.rank, found.micro_batch, found.alone) == (64, 16, ())


@pytest.mark.parametrize(
    ("more", "slots", "why"),
    [
        ("", 16, "as many as there are trials"),
        ("search: {trials: 3}", 3, "as many as there are trials"),
        ("search: {trials: 40}", 16, "the most on a GPU"),
        ("resources: {packing: off}", 1, "resources.packing is off"),
        ("quantization: int8", 16, "as many as there are trials"),
        ("adapter: {variant: dora}", 1, "no trial can share a forward with others"),
    ],
)
def test_why_a_host_has_so_many_slots(more, slots, why, base, sweep):
    found = capacity(sweep(more), base, GPU)
    assert (found.slots, found.why) == (slots, why)


@pytest.mark.parametrize(
    ("hosts", "slots", "why"),
    [
        (1, 4, "the most on a CPU"),
        (2, 2, "the most on a CPU that 2 hosts share"),
        (4, 2, "the most on a CPU that 4 hosts share"),
    ],
)
def test_hosts_of_a_machine_without_gpus_share_its_slots(hosts, slots, why, base, sweep):
    share = Device(gpu=False, bytes=24e9, hosts=hosts)
    found = capacity(sweep("search: {trials: 40}"), base, share)
    assert (found.slots, found.why) == (slots, why)


def test_memory_decides_where_it_is_short(base, sweep):
    one = capacity(sweep(), base, GPU).one
    short = Device(gpu=True, bytes=size_for(one, 5) + 1)
    found = capacity(sweep(), base, short)
    assert (found.slots, found.micro_batch) == (5, 16)
    assert found.why.startswith("as many as fit in 90% of ")
    tight = replace(short, bytes=size_for(one, 1) - 1)
    assert capacity(sweep(), base, tight).micro_batch == 8


def test_a_space_in_which_only_some_trials_pack_names_the_reason(base, sweep):
    more = "search: {space: {adapter.variant: {choice: [lora, dora]}}}"
    found = capacity(sweep(more), base, GPU)
    assert (found.packs, found.slots) == (True, 16)
    assert found.alone == ("DoRA norms the whole weight of each trial",)


def test_an_image_encoder_whose_images_share_a_row_is_not_packed(
    checkpoints, sweep, untrained_base
):
    files = checkpoint_files.find(str(checkpoints("qwen2_5_vl")), None)
    qwen = Bases({(str(untrained_base), None): files})  # in its place
    found = capacity(sweep("adapter: {targets: all}"), qwen, GPU)
    assert (found.packs, found.slots) == (False, 1)
    assert found.alone == ("its adapted layers see all images in one row",)
    found = capacity(sweep("adapter: {targets: text_all}"), qwen, GPU)
    assert (found.packs, found.alone) == (True, ())


def test_auto_is_what_fits_unless_neighbours_would_count_in_what_decides(base, sweep):
    assert auto_slots(sweep(), Bases({}), GPU) == 1  # the base is not known yet
    assert auto_slots(sweep(), base, GPU) > 1
    timed = 'search: {constraints: {latency_ms: "< 50"}}'
    assert auto_slots(sweep(timed), base, GPU) == 1


@pytest.fixture
def two_bases(sweep, untrained_base, checkpoints):
    """A sweep over two bases, and the name of the one that is not in the file itself."""
    other = str(checkpoints("paligemma"))
    space = f"search: {{space: {{model.base: {{choice: [{untrained_base}, {other}]}}}}}}"
    return sweep(f"adapter: {{targets: text_all_head}}\n{space}"), sweep(space), other


def test_every_base_of_the_space_counts(two_bases, untrained_base, base, sweep):
    _, several, other = two_bases
    there, own = memory.local_files(several), str(untrained_base)
    assert list(there) == [(own, None), (other, None)]
    found = capacity(several, Bases(there), GPU)
    stored = [base_bytes(files, MODEL, "none", gpu=True) for files in there.values()]
    assert found.one.base == sum(stored)
    taken = {
        name: capacity(several, Bases({name: files}), GPU).one for name, files in there.items()
    }
    largest, _ = max(taken, key=lambda name: taken[name].total - taken[name].base)
    assert found.largest.model.base == largest
    single = next(one for name, one in taken.items() if name[0] == largest)
    assert replace(found.one, base=0, arenas=1) == replace(single, base=0)
    need = Needs(several, Bases(there))
    assert need({"model.base": other}) != need({"model.base": own})
    assert need({"model.base": own}) == Needs(sweep(), base)({})
    assert Needs(several, base)({"model.base": other}) == 0.0  # not on this machine yet


def test_a_base_without_the_wanted_targets_is_left_aside(two_bases):
    several, _, other = two_bases
    known = memory.local_files(several)
    assert capacity(several, Bases(known), GPU).largest.model.base != other
    assert Needs(several, Bases(known))({"model.base": other}) == 0.0
    without = {name: files for name, files in known.items() if name[0] == other}
    with pytest.raises(ValueError, match=r"adapter\.targets: no base .* has 'text_all_head'"):
        capacity(several, Bases(without), GPU)


def test_what_was_measured_decides_on_slots_and_needs(base, sweep):
    one = capacity(sweep(), base, GPU).one
    short = Device(gpu=True, bytes=size_for(one, 5) + 1)
    assert capacity(sweep(), base, short).slots == 5
    assert capacity(sweep(), base, short, Correction(training=2.0)).slots < 5
    assert capacity(sweep(), base, short, Correction(writing=9.0)).slots < 5
    assert capacity(sweep(), base, short, Correction(training=0.6, writing=0.6)).slots > 5
    measured = [Correction()]
    need = Needs(sweep(), base, lambda: measured[-1])
    before = need({"adapter.rank": 64})
    measured.append(Correction(training=3.0))
    assert need({"adapter.rank": 64}) > before


def sweep_of(base, more=""):
    return parse(f"name: sharing\nmodel: {{base: {base}}}\ndata: {{source: shapes}}\n{more}")


@pytest.mark.parametrize(
    ("more", "slots"), [("", 2), ("search: {trials: 1}", 1), ("resources: {packing: off}", 1)]
)
def test_each_host_has_room_for_a_small_pack_in_half_of_the_memory(more, slots, untrained_base):
    known = Bases(memory.local_files(sweep_of(untrained_base)))
    found = capacity(sweep_of(untrained_base, more), known, Device(gpu=False, bytes=1e15))
    each = found.one.times(slots).total
    assert hosts_that_fit(sweep_of(untrained_base, more), 4.1 * each) == 2
    assert hosts_that_fit(sweep_of(untrained_base, more), 3.9 * each) == 1
    assert hosts_that_fit(sweep_of(untrained_base, more), 1.9 * each) == 0


def test_a_built_in_base_is_known_to_be_small_before_it_is_built(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    assert hosts_that_fit(sweep_of("tiny:shapes"), 4.1 * CPU_CONTEXT) == 2


def test_a_number_in_the_file_is_not_questioned(untrained_base):
    assert hosts_that_fit(sweep_of(untrained_base, "resources: {hosts: 3}"), 1e9) is None


def test_a_base_that_is_not_here_may_be_of_any_size(tmp_path):
    assert hosts_that_fit(sweep_of(tmp_path / "away"), 1e12) is None


WIDE = """
search: {trials: 40, space: {
  adapter.targets: {choice: [text, vision]}, adapter.rank: {choice: [4, 20]}}}
"""


def test_adapters_of_a_pack_have_its_largest_rank_and_all_its_layers(files, base, sweep):
    found = capacity(sweep(WIDE), base, GPU)
    # With pixels and with features one pack each, and each with its own layers.
    stored = TRAINED_BYTES + ROUNDED_BYTES
    rows = [files.adapter_weights(name, 24) * stored for name in ("text", "vision")]
    assert (found.one.adapter, found.one.arenas) == (max(rows), 2)
    alone = capacity(sweep(f"{WIDE}resources: {{packing: off}}"), base, GPU).one
    exact = [files.adapter_weights(name, 20) * TRAINED_BYTES for name in ("text", "vision")]
    assert (alone.adapter, alone.arenas) == (max(exact), 0)
    both = "search: {space: {adapter.targets: {choice: [text, text_all]}}}"
    one = capacity(sweep(both), base, GPU).one
    assert one.adapter == files.adapter_weights("text_all", 16) * stored
    assert one.times(3).adapter == 4 * one.adapter


def test_a_host_on_a_gpu_sets_room_aside_for_features(base, sweep):
    assert capacity(sweep(), base, GPU).one.features == GPU.bytes / 16
    assert capacity(sweep(), base, replace(GPU, gpu=False)).one.features == 0


def test_smoothed_labels_take_more(base, sweep):
    space = "search: {space: {train.label_smoothing: {choice: [0.0, 0.1]}}}"
    plain, smoothed = (capacity(sweep(more), base, GPU).one for more in ("", space))
    assert smoothed.logits == pytest.approx(plain.logits * 26 / 14)


def test_data_that_is_read_decides_in_place_of_what_was_assumed(files, base, sweep):
    assumed = capacity(sweep(), base, GPU).one
    for caption, more in ((3, False), (3000, True)):
        data = DataExtent(images=1, question=0, caption=caption)
        known = Bases({(sweep().model.base, None): files}, data)
        assert (capacity(sweep(), known, GPU).one.logits > assumed.logits) == more
        assert (Needs(sweep(), known)({}) > Needs(sweep(), base)({})) == more
        assert capacity(sweep(), known, GPU).one.features < assumed.features  # of a single image
