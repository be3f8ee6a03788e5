"""What is tried after memory ran out, and when more is tried again."""

import pytest

from workers.memory import limits
from workers.memory.device import DeviceMemory
from workers.memory.limits import PATIENCE, Limits


def rooms(*answers):
    """Return a memory that can make room as often as it is said here."""
    left = iter(answers)
    return DeviceMemory(make_room=lambda: next(left, False))


def now(found):
    return found.trials, found.rows


def fit(found, steps):
    for _ in range(steps):
        found.fitted()


def test_caches_leave_first_then_rows_are_halved_then_trials_are_parted():
    found = Limits(rooms(True))
    assert found.retreat(3, 5)
    assert now(found) == (None, None)  # the same once more, with more room
    tried = [(3, 5)]
    while found.retreat(*tried[-1]):
        tried.append((found.trials or 3, found.rows or 5))
    assert tried == [(3, 5), (3, 2), (3, 1), (2, 1), (1, 1)]


def test_more_is_tried_again_after_some_steps_in_the_reverse_order():
    found = Limits(rooms())
    for tried in ((3, 5), (3, 2), (3, 1)):
        found.retreat(*tried)
    assert now(found) == (2, 1)
    fit(found, PATIENCE - 1)
    assert now(found) == (2, 1)
    seen = []
    for _ in range(4):
        fit(found, 1 if not seen else PATIENCE)
        seen.append(now(found))
    assert seen == [(None, 1), (None, 2), (None, 4), (None, None)]


def test_a_try_that_fails_is_repeated_ever_more_rarely(monkeypatch):
    monkeypatch.setattr(limits, "PATIENCE", 2)
    found, waits = Limits(rooms()), []
    found.retreat(1, 2)
    for _ in range(4):
        steps = 0
        while found.rows == 1:
            found.fitted()
            steps += 1
        waits.append(steps)
        found.retreat(1, 2)
    assert waits == [2, 4, 8, 16]


@pytest.mark.parametrize("leave", [lambda m: m.close("one"), lambda m: m.forget(("base", "none"))])
def test_what_left_gives_all_of_it_back_at_once(leave):
    memory = rooms()
    found = Limits(memory)
    found.retreat(4, 1)
    assert now(found) == (2, 1)
    leave(memory)
    assert now(found) == (None, None)


def test_the_rows_expected_to_fit_are_a_limit_too():
    class Three(DeviceMemory):
        def rows(self, names, wanted):
            return min(wanted, 3)

    found = Limits(Three())
    assert found.rows_of(["one"], 8) == 3
    found.retreat(1, 4)
    assert found.rows_of(["one"], 8) == 2
