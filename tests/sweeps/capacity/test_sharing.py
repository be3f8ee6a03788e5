"""How many hosts the memory of a machine without GPUs holds."""

import pytest

from sweeps.capacity import memory
from sweeps.capacity.memory import Bases, capacity, hosts_that_fit
from sweeps.spec.load import parse
from workers.files import cache
from workers.memory.fit import Device
from workers.memory.footprint import CPU_CONTEXT


def sweep(base, more=""):
    return parse(f"name: sharing\nmodel: {{base: {base}}}\ndata: {{source: shapes}}\n{more}")


@pytest.mark.parametrize(
    ("more", "slots"), [("", 2), ("search: {trials: 1}", 1), ("resources: {packing: off}", 1)]
)
def test_each_host_has_room_for_a_small_pack_in_half_of_the_memory(more, slots, untrained_base):
    known = Bases(memory.local_files(sweep(untrained_base)))
    found = capacity(sweep(untrained_base, more), known, Device(gpu=False, bytes=1e15))
    each = found.one.times(slots).total
    assert hosts_that_fit(sweep(untrained_base, more), 4.1 * each) == 2
    assert hosts_that_fit(sweep(untrained_base, more), 3.9 * each) == 1
    assert hosts_that_fit(sweep(untrained_base, more), 1.9 * each) == 0


def test_a_built_in_base_is_known_to_be_small_before_it_is_built(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    assert hosts_that_fit(sweep("tiny:shapes"), 4.1 * CPU_CONTEXT) == 2


def test_a_number_in_the_file_is_not_questioned(untrained_base):
    assert hosts_that_fit(sweep(untrained_base, "resources: {hosts: 3}"), 1e9) is None


def test_a_base_that_is_not_here_may_be_of_any_size(tmp_path):
    assert hosts_that_fit(sweep(tmp_path / "away"), 1e12) is None
