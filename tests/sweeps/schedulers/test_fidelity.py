"""How well rungs predict final scores, and what follows from it."""

import random

import pytest

from sweeps.results import record
from sweeps.results.folder import SweepFolder
from sweeps.rung_result import RungResult
from sweeps.schedulers import fidelity
from sweeps.schedulers.fidelity import measure, spearman, unpruned_trials
from sweeps.spec.load import parse
from sweeps.spec.sweep import FEWEST, Schedule

FILE = """
name: measured
model: {{base: nothing}}
data: {{source: shapes}}
train: {{epochs: 3}}
search: {{trials: {trials}}}
schedule: {{name: {name}, unpruned: {unpruned}}}
"""


def sweep_of(trials=100, name="asha", unpruned="null"):
    return parse(FILE.format(trials=trials, name=name, unpruned=unpruned))


def rungs(*values, finished=True):
    """The record of a trial whose objectives are `values`; the best is the last one."""
    return [
        RungResult(
            rung=number,
            objective=value,
            best=values[-1],
            finished=finished and number == len(values),
            time=0.0,
        )
        for number, value in enumerate(values, start=1)
    ]


def test_ties_get_the_mean_of_their_ranks():
    assert spearman([1, 2, 3], [10, 20, 90]) == pytest.approx(1.0)
    assert spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)
    # Ranks 0, 1.5, 1.5, 3 against 0, 1, 2, 3.
    assert spearman([1, 2, 2, 9], [1, 2, 3, 4]) == pytest.approx(4.5 / (4.5 * 5) ** 0.5)
    assert spearman([1, 1, 1], [1, 2, 3]) == 0.0


def test_a_grace_that_says_nothing_is_raised_to_the_first_rung_that_does():
    trials = [rungs(-float(n), (n * 3) % 8, float(n)) for n in range(8)]
    found = measure(trials, Schedule(grace=1), epochs=3)
    assert [round(each.value, 2) for each in found.correlations] == [-1.0, 0.43, 1.0]
    assert found.grace == 3
    assert str(found) == (
        "rung 1 predicted the final order of 8 unpruned trials with rank correlation -1.00 "
        "(80 % interval -1.00 to -1.00), below 0.8: schedule.grace was raised to 3"
    )


def test_a_grace_that_predicts_stays():
    trials = [rungs(float(n), float(n)) for n in range(6)]
    found = measure(trials, Schedule(grace=1), epochs=2)
    assert found.grace == 1
    assert str(found).endswith("schedule.grace 1 stays")


def test_a_low_correlation_that_may_be_chance_changes_nothing():
    trials = [rungs(float(early), float(n)) for n, early in enumerate([1, 0, 4, 2, 3, 5, 7, 6])]
    low = [rungs(float(early), float(n)) for n, early in enumerate([3, 0, 4, 1, 6, 2, 7, 5])]
    assert measure(trials, Schedule(), epochs=2).grace == 1
    found = measure(low, Schedule(), epochs=2)
    first = found.correlations[0]
    assert first.value < 0.8 < first.high
    assert found.grace == 1
    assert "too few to say that it is below 0.8" in str(found)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    """Of independent ranks the true correlation is 0."""
    generator = random.Random(0)
    held = 0
    for _ in range(400):
        trials = [rungs(generator.random(), generator.random()) for _ in range(8)]
        first = measure(trials, Schedule(), epochs=2).correlations[0]
        held += first.low <= 0.0 <= first.high
    assert 0.75 <= held / 400 <= 0.88


def test_failed_trials_and_rungs_without_an_objective_are_left_out():
    whole = [rungs(None, float(n), float(n)) for n in range(FEWEST)]
    cut = [rungs(5.0, 5.0, finished=False), []]
    found = measure([*whole, *cut], Schedule(grace=2), epochs=3)
    assert [(each.rung, each.trials) for each in found.correlations] == [(2, 5), (3, 5)]
    assert measure([*whole[1:], *cut], Schedule(grace=2), epochs=3) is None


@pytest.mark.parametrize(
    ("trials", "name", "written", "expected"),
    [
        (16, "asha", "null", 0),  # the quick start
        (79, "asha", "null", 0),
        (80, "asha", "null", 5),
        (1000, "median", "null", 8),
        (1000, "fifo", "null", 0),
        (1000, "hyperband", "null", 0),
        (16, "asha", "6", 6),
        (1000, "asha", "0", 0),
    ],
)
def test_small_sweeps_are_not_made_slower(trials, name, written, expected):
    assert len(unpruned_trials(sweep_of(trials, name, written))) == expected


def test_records_say_the_same_once_all_unpruned_trials_are_over(tmp_path):
    folder, sweep = SweepFolder.create(tmp_path, "measured"), sweep_of(unpruned="5")
    names = [f"trial-{number:03d}" for number in range(6)]
    for number, name in enumerate(names):
        for result in rungs(float(-number), float(number)):
            record.append(folder, name, result)
    assert fidelity.read(sweep, folder, names[:4]) is None
    found = fidelity.read(sweep, folder, names)
    assert found.grace == 2
    assert found.correlations[0].trials == 5
