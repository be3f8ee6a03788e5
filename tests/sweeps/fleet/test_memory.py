"""What fits where, for sweeps over small bases."""

from dataclasses import replace

import pytest

from sweeps.fleet.memory import Needs, auto_slots, capacity, corners
from sweeps.spec import parse
from workers import checkpoint_files
from workers.footprint.fit import Device
from workers.footprint.layers import Architecture
from workers.footprint.weights import TRAINED_BYTES, base_bytes

GPU = Device(gpu=True, bytes=24e9)
SPACES = """
search: {space: {
  quantization: {choice: [none, nf4]}, adapter.rank: {choice: [4, 64]},
  train.batch_size: {choice: [2, 16]}, train.learning_rate: {log_uniform: [1e-5, 1e-3]}}}
"""


@pytest.fixture(scope="module")
def files(untrained_base):
    return checkpoint_files.find(str(untrained_base), None)


@pytest.fixture
def sweep(untrained_base):
    """Return a function: further lines of the file -> sweep."""
    head = f"name: memory\nmodel: {{base: {untrained_base}}}\ndata: {{source: shapes}}\n"
    return lambda more=SPACES: parse(head + more)


def test_a_trial_needs_its_base_and_its_adapter(files, sweep):
    need = Needs(sweep(), files)
    small, large = (need({"adapter.rank": rank}) for rank in (4, 64))
    weights = files.adapter_weights(sweep().adapter.targets, 60)
    assert large - small > weights * TRAINED_BYTES > 0
    assert small > base_bytes(files, "none", "auto", gpu=True)
    assert need({"adapter.rank": 4, "quantization": "nf4"}) != small


def test_a_need_is_that_of_one_row_whatever_the_batch(files, sweep):
    need = Needs(sweep(), files)
    assert need({"train.batch_size": 2}) == need({"train.batch_size": 16})
    one = capacity(sweep(), Architecture.of(files), GPU).one
    assert need({"adapter.rank": 64, "train.batch_size": 16}) < one.total


def test_a_point_for_which_no_gpu_is_large_enough_says_so(files, sweep):
    need = Needs(sweep(), files)
    point = {"adapter.rank": 64}
    assert need.refusal(point, need(point)) is None
    reason = need.refusal(point, 0.4e9)
    assert reason == "needs at least 1 GB, and the largest GPU has 0 GB"
    assert need.refusal(point, 0.0) is None  # nothing is known of the GPUs


def test_corners_hold_the_largest_values_and_every_kind(sweep):
    found = list(corners(sweep()))
    assert [recipe.quantization for recipe in found] == ["none", "nf4"]
    assert {(recipe.adapter.rank, recipe.train.batch_size) for recipe in found} == {(64, 16)}


def test_a_host_holds_the_bases_of_all_groups(files, sweep):
    found = capacity(sweep(), Architecture.of(files), GPU)
    names = ("none", "nf4")
    assert found.one.base == sum(base_bytes(files, name, "auto", gpu=True) for name in names)
    assert (found.largest.adapter.rank, found.micro_batch, found.alone) == (64, 16, ())


@pytest.mark.parametrize(
    ("more", "slots", "why"),
    [
        ("", 16, "as many as there are trials"),
        ("search: {trials: 3}", 3, "as many as there are trials"),
        ("search: {trials: 40}", 16, "the most on a GPU"),
        ("resources: {packing: off}", 1, "resources.packing is off"),
        ("quantization: int8", 1, "no trial can share a forward with others"),
        ("adapter: {variant: dora}", 1, "no trial can share a forward with others"),
    ],
)
def test_why_a_host_has_so_many_slots(more, slots, why, files, sweep):
    found = capacity(sweep(more), Architecture.of(files), GPU)
    assert (found.slots, found.why) == (slots, why)


@pytest.mark.parametrize(
    ("hosts", "slots", "why"),
    [
        (1, 8, "the most on a CPU"),
        (2, 4, "the most on a CPU that 2 hosts share"),
        (4, 4, "the most on a CPU that 4 hosts share"),
    ],
)
def test_hosts_of_a_machine_without_gpus_share_its_slots(hosts, slots, why, files, sweep):
    share = Device(gpu=False, bytes=24e9, hosts=hosts)
    found = capacity(sweep("search: {trials: 40}"), Architecture.of(files), share)
    assert (found.slots, found.why) == (slots, why)


def test_memory_decides_where_it_is_short(files, sweep):
    base = Architecture.of(files)
    one = capacity(sweep(), base, GPU).one
    short = Device(gpu=True, bytes=one.times(5).total / 0.9 + 1)
    found = capacity(sweep(), base, short)
    assert (found.slots, found.micro_batch) == (5, 16)
    assert found.why.startswith("as many as fit in 90% of ")
    tight = replace(short, bytes=one.total / 0.9 - 1)
    assert capacity(sweep(), base, tight).micro_batch == 8


def test_a_space_in_which_some_pack_says_which_do_not(files, sweep):
    more = "search: {space: {quantization: {choice: [none, int8]}}}"
    found = capacity(sweep(more), Architecture.of(files), GPU)
    assert (found.packs, found.slots) == (True, 16)
    assert found.alone == ("the outlier columns of LLM.int8() come from the whole batch",)


def test_an_image_encoder_whose_images_share_a_row_is_not_packed(checkpoints, sweep):
    qwen = Architecture.of(checkpoint_files.find(str(checkpoints("qwen2_5_vl")), None))
    found = capacity(sweep("adapter: {targets: all}"), qwen, GPU)
    assert (found.packs, found.slots) == (False, 1)
    assert found.alone == ("its adapted layers see all images in one row",)
    found = capacity(sweep("adapter: {targets: text_all}"), qwen, GPU)
    assert (found.packs, found.alone) == (True, ())


def test_auto_is_what_fits_unless_neighbours_would_count_in_what_decides(files, sweep):
    assert auto_slots(sweep(), None, GPU) == 1  # the base is not known yet
    assert auto_slots(sweep(), files, GPU) > 1
    timed = 'search: {constraints: {latency_ms: "< 50"}}'
    assert auto_slots(sweep(timed), files, GPU) == 1
