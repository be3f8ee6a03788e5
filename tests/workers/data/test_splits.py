from collections import Counter

import pytest
from pydantic import ValidationError

from workers.data import splits
from workers.recipe import Split

LISTED = {"train": 70, "validation": 20, "test": 10}


def contents(count: int) -> dict[str, str]:
    return {f"{index}.png": f"hash {index}" for index in range(count)}


@pytest.mark.parametrize(
    ("total", "split", "expected"),
    [
        (264, Split(), (212, 26, 26)),
        (10, Split(), (8, 1, 1)),
        (5, Split(), (3, 1, 1)),
        (3, Split(), (1, 1, 1)),
        (100, Split(train=0.7, validation=0.3, test=0.0), (70, 30, 0)),
        (100, Split(train=0.2, validation=0.1, test=0.1), (20, 10, 10)),
    ],
)
def test_shares_are_kept(total: int, split: Split, expected: tuple[int, ...]) -> None:
    counts = Counter(splits.by_shares(contents(total), split, 0).values())
    assert (counts["train"], counts["validation"], counts["test"]) == expected


def test_order_of_the_images_does_not_matter_but_the_seed_does() -> None:
    forward = contents(50)
    backward = dict(reversed(forward.items()))
    first = splits.by_shares(forward, Split(), 0)
    assert splits.by_shares(backward, Split(), 0) == first
    assert splits.by_shares(forward, Split(), 1) != first


def test_copies_of_an_image_share_its_split() -> None:
    copies = {f"{index}.png": f"hash {index // 4}" for index in range(80)}
    split_of = splits.by_shares(copies, Split(train=0.4, validation=0.3, test=0.3), 0)
    for index in range(20):
        assert len({split_of[f"{index * 4 + copy}.png"] for copy in range(4)}) == 1


def test_shares_count_distinct_images() -> None:
    many_copies = contents(10) | {f"copy {index}.png": "hash 3" for index in range(40)}
    split_of = splits.by_shares(many_copies, Split(train=0.4, validation=0.3, test=0.3), 0)
    assert Counter(split_of[id] for id in contents(10)) == {"train": 4, "validation": 3, "test": 3}


def test_draw_is_a_sorted_subset_that_depends_on_the_seed_only() -> None:
    ids = [f"{index:02d}" for index in range(40)]
    drawn = splits.subset(ids, 10, 0)
    assert len(drawn) == 10
    assert drawn == sorted(drawn)
    assert drawn == splits.subset(reversed(ids), 10, 0)
    assert drawn != splits.subset(ids, 10, 1)
    assert set(drawn) < set(splits.subset(ids, 20, 0))
    assert splits.subset(ids, 99, 0) == splits.subset(ids, None, 0) == ids


def test_lists_are_followed() -> None:
    listed = {"a": ["train"], "b": ["validation"], "c": ["test"]}
    assert splits.by_lists({id: id for id in listed}, listed) == (
        {"a": "train", "b": "validation", "c": "test"},
        [],
    )


def test_an_image_in_two_lists_is_held_out() -> None:
    split_of, problems = splits.by_lists({"a": "x"}, {"a": ["train", "test"]})
    assert split_of == {"a": "test"}
    assert problems == ["a: listed for train, but also listed for test"]


def test_a_copy_in_another_split_is_left_out_of_train() -> None:
    listed = {"a": ["train"], "b": ["validation"], "c": ["train"], "d": ["train"]}
    split_of, problems = splits.by_lists({"a": "x", "b": "x", "c": "y", "d": "y"}, listed)
    assert split_of == {"b": "validation", "c": "train", "d": "train"}
    assert problems == ["a: listed for train, but the same image as b in validation"]


def test_a_limit_is_divided_like_the_lists() -> None:
    listed = {
        f"{split}{index}": [split] for split, count in LISTED.items() for index in range(count)
    }
    for seed in range(5):
        drawn = splits.subset_of_lists(listed, 10, seed)
        parts = Counter(listed[id][0] for id in drawn)
        assert parts == {"train": 7, "validation": 2, "test": 1}
        assert drawn == sorted(drawn)
    assert splits.subset_of_lists(listed, 10, 0) != splits.subset_of_lists(listed, 10, 1)
    assert splits.subset_of_lists(listed, None, 0) == sorted(listed)
    assert len(splits.subset_of_lists(listed, 3, 0)) == 3
    assert len(splits.subset_of_lists(listed, 101, 0)) == len(listed)


def test_copies_are_held_out_together() -> None:
    copies = {f"{index}-{copy}": str(index) for index in range(10) for copy in "ab"}
    copies["t"] = "test"
    split_of = dict.fromkeys(copies, "train") | {"t": "test"}
    for seed in range(5):
        held_out = splits.hold_out(split_of, copies, 0.3, seed)
        assert Counter(held_out.values()) == {"train": 14, "validation": 6, "test": 1}
        assert all(held_out[id] == held_out[f"{id[0]}-a"] for id in copies if id != "t")
    assert Counter(splits.hold_out(split_of, copies, 0.01, 0).values())["validation"] == 2


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": "a"}, "either three shares or three files"),
        ({"train": "a", "test": "b", "validation": 0.0}, "a validation share above 0"),
        ({"train": "a", "test": "b", "validation": 1.0}, "a validation share below 1"),
        ({"train": 0.8, "test": 0.1, "validation": "c"}, "either three shares or three files"),
        ({"train": 0.8, "test": "b", "validation": "c"}, "either three shares or three files"),
    ],
)
def test_parts_of_different_kinds_are_refused(parts: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Split(**parts)


def test_only_validation_may_be_a_share_beside_names() -> None:
    assert Split(train="a", validation=0.1, test="b").named
    assert Split(train="a", validation="c", test="b").named
    assert not Split().named
