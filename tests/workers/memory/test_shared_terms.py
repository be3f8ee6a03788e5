"""The arena of a pack by its slots, ranks and targets."""

import pytest

from workers.memory.shared_terms import SharedTerms, arena_capacity, most_rows, padded_rank


def test_an_arena_grows_in_steps():
    slots = (0, 1, 2, 3, 4, 5, 8, 9, 12, 13, 16, 17)
    assert [arena_capacity(each) for each in slots] == [0, 1, 2, 4, 4, 8, 8, 12, 12, 16, 16, 20]


def test_slots_are_counted_as_they_spread_worst():
    assert [most_rows(5, 1), most_rows(10, 1), most_rows(10, 2)] == [8, 12, 16]
    assert all(most_rows(slots, 3) >= most_rows(slots, 1) for slots in range(1, 17))


@pytest.mark.parametrize(("rank", "stored"), [(1, 8), (8, 8), (17, 24), (64, 64), (100, 104)])
def test_ranks_are_padded(rank, stored, recipe_of, architecture):
    files = architecture("git").files
    alone = SharedTerms.alone(recipe_of("git", adapter__rank=rank), files)
    assert padded_rank(rank) == stored
    assert SharedTerms.of_pack([alone]).row_weights(files) * rank == (
        stored * files.adapter_weights("text_all", rank)
    )


def test_the_widest_trial_decides_for_all(recipe_of, architecture):
    files = architecture("git").files
    points = [
        {"adapter__targets": "text", "adapter__rank": 30, "adapter__dropout": 0.0},
        {"adapter__targets": "vision", "adapter__rank": 4, "adapter__dropout": 0.0},
    ]
    text, vision = (SharedTerms.alone(recipe_of("git", **point), files) for point in points)
    both = SharedTerms.of_pack([text, vision])
    assert both.paths == text.paths | vision.paths > text.paths
    assert (both.rank, both.dropout, both.packed) == (32, False, True)
    weights = (files.adapter_weights(name, 32) for name in ("text", "vision"))
    assert both.row_weights(files) == sum(weights)
    smoothed = SharedTerms.alone(recipe_of("git", train__label_smoothing=0.1), files)
    assert SharedTerms.of_pack([both, smoothed]).smoothed
