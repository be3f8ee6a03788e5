"""Slots and budget decide whether another trial starts, before the bridge is asked."""

import pytest
from ray.tune.search import ConcurrencyLimiter, Searcher

from sweeps.results.budget import Spent
from sweeps.results.folder import SweepFolder
from sweeps.rung_result import RungResult
from sweeps.spec.sweep import Budget
from sweeps.study.limiter import Admission


class Counting(Searcher):
    """A searcher with any number of points, which keeps what it is told."""

    def __init__(self):
        super().__init__()
        self.given, self.ended = 0, {}

    def suggest(self, trial_id):
        self.given += 1
        return {"number": self.given - 1}

    def on_trial_result(self, trial_id, result):
        pass

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.ended[trial_id] = (result, error)


@pytest.fixture
def spent(tmp_path):
    folder = SweepFolder.create(tmp_path, "admitted")
    return Spent(folder, Budget(gpu_hours=1.0), ())


@pytest.fixture
def admission(spent):
    return Admission(Counting(), lambda: 2, spent)


def test_no_more_trials_than_slots(admission):
    # As Tune wraps it: its limiter must not count besides.
    limited = ConcurrencyLimiter(admission, max_concurrent=2)
    assert [limited.suggest(name) for name in "abc"] == [{"number": 0}, {"number": 1}, None]
    limited.on_trial_complete("a", {"rung": 1})
    assert limited.suggest("c") == {"number": 2}


def test_a_waiting_trial_gives_its_slot_to_another_until_it_goes_on(admission):
    for name in "ab":
        admission.suggest(name)
    admission.on_pause("a")
    assert admission.suggest("c") == {"number": 2}
    admission.on_unpause("a")
    admission.on_trial_complete("b", {"rung": 1})
    assert admission.suggest("d") is None


def test_a_trial_that_is_stopped_while_it_waits_ends_with_its_last_rung(admission):
    admission.suggest("a")
    admission.on_pause("a")
    admission.on_trial_result("a", {"rung": 3})
    admission.on_trial_complete("a")
    assert admission._bridge.ended == {"a": ({"rung": 3}, False)}


def test_nothing_starts_once_the_budget_is_used_up(admission, spent):
    admission.suggest("a")
    spent.rung("trial-000", RungResult(rung=1, seconds=3600.0))
    assert admission.suggest("b") == Searcher.FINISHED
    assert admission._bridge.given == 1
