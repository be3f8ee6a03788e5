import pytest

from sweeps.fleet.placement import Fleet, Room

GB = 1e9


@pytest.fixture
def make():
    """Return a function: host -> (slots, bytes of its GPU), as a fleet."""

    def fleet(**rooms):
        made = Fleet()
        for name, (slots, gpu_bytes) in rooms.items():
            made.add(name, Room(slots=slots, gpu_bytes=gpu_bytes))
        return made

    return fleet


def test_trials_go_to_the_host_with_the_fewest_and_wait_when_all_slots_are_taken(make):
    fleet = make(a=(2, None), b=(2, None), c=(1, None))
    assert [fleet.place(number) for number in range(6)] == ["a", "b", "c", "a", "b", None]
    fleet.release(1, "b")
    assert fleet.place(5) == "b"
    assert fleet.place(6) is None


def test_a_release_frees_one_slot_once(make):
    fleet = make(a=(1, None), b=(1, None))
    assert [fleet.place(0), fleet.place(1)] == ["a", "b"]
    fleet.release(0, "b")  # of a place that it does not have any more
    fleet.release(99, "a")
    assert fleet.place(2) is None
    fleet.release(0, "a")
    fleet.release(0, "a")
    assert [fleet.place(2), fleet.place(3)] == ["a", None]


def test_trials_of_a_host_that_has_left_go_elsewhere(make):
    fleet = make(a=(1, None), b=(1, None))
    assert [fleet.place(0), fleet.place(1)] == ["a", "b"]
    fleet.remove("a")
    assert (fleet.has("a"), fleet.has("b")) == (False, True)
    assert fleet.place(0) is None
    fleet.add("c", Room(slots=1))
    assert fleet.place(0) == "c"
    fleet.release(0, "a")  # said late by whoever held the lost place
    assert fleet.place(2) is None


def test_a_trial_that_asks_again_goes_back_to_the_slot_that_it_has(make):
    fleet = make(a=(1, None), b=(1, None))
    assert [fleet.place(0), fleet.place(1), fleet.place(1)] == ["a", "b", "b"]
    fleet.release(0, "a")
    assert fleet.place(1) == "b"  # though the other one is idle


def test_slots_of_trials_that_ended_without_a_word_are_free_again(make):
    fleet = make(a=(2, None))
    assert [fleet.place(0), fleet.place(1), fleet.place(2)] == ["a", "a", None]
    fleet.retain({1})
    assert [fleet.place(2), fleet.place(3)] == ["a", None]


def test_a_trial_goes_only_where_it_fits(make):
    fleet = make(small=(2, 16 * GB), large=(1, 80 * GB))
    assert fleet.place(0, need=40 * GB) == "large"
    assert fleet.place(1, need=40 * GB) is None  # rather than to the small one, which is idle
    assert fleet.place(2, need=16 * GB) == "small"


def test_a_small_trial_leaves_the_large_gpu_to_those_that_need_it(make):
    fleet = make(large=(1, 80 * GB), small=(1, 16 * GB))
    assert fleet.place(0, need=GB) == "small"
    assert fleet.place(1, need=40 * GB) == "large"


def test_an_idle_large_gpu_is_better_than_a_small_one_that_is_shared(make):
    fleet = make(large=(2, 80 * GB), small=(2, 16 * GB))
    assert [fleet.place(number, need=GB) for number in range(4)] == [
        "small", "large", "small", "large",
    ]  # fmt: skip


def test_trials_on_one_base_come_together(make):
    fleet = make(a=(4, None), b=(4, None))
    bases = ["none", "nf4", "nf4", "none", "none", "nf4", "nf4", "none"]
    placed = [fleet.place(number, base=base) for number, base in enumerate(bases)]
    assert placed == ["a", "b", "b", "a", "a", "b", "b", "a"]


def test_no_host_is_idle_or_nearly_so_for_the_sake_of_a_base(make):
    fleet = make(a=(8, None), b=(8, None))
    bases = ["none", "none", "nf4", "nf4", "nf4", "nf4"]
    placed = [fleet.place(number, base=base) for number, base in enumerate(bases)]
    # The second finds b idle, the fifth finds it with one trial where a has three.
    assert placed == ["a", "b", "a", "a", "b", "b"]


def test_a_base_that_no_trial_trains_on_any_more_draws_none(make):
    fleet = make(a=(2, None), b=(2, None), c=(2, None))
    assert [fleet.place(number, base=base) for number, base in enumerate("xyz")] == [*"abc"]
    fleet.release(1, "b")
    assert fleet.place(3, base="v") == "b"
    assert fleet.place(4, base="y") == "a"  # no longer b
    assert fleet.place(5, base="z") == "c"


def test_hosts_that_share_a_gpu_offer_their_share_of_it(make):
    fleet = make(half=(1, 0.5 * 80 * GB), whole=(1, 80 * GB))
    assert fleet.place(0, need=50 * GB) == "whole"
    assert fleet.place(1, need=50 * GB) is None
    assert fleet.place(2, need=40 * GB) == "half"


def test_a_trial_that_fits_nowhere_finds_out_on_the_largest_gpu(make):
    fleet = make(small=(1, 16 * GB), large=(1, 80 * GB))
    assert fleet.place(0, need=200 * GB) == "large"
    assert fleet.place(1, need=200 * GB) is None


def test_a_fleet_without_hosts_has_no_place():
    assert Fleet().place(0) is None
