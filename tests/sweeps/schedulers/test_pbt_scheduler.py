"""Trials wait for each other at equal rungs, and nobody waits for ever."""

import math
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from ray.tune.schedulers import TrialScheduler

from sweeps import schedulers
from sweeps.results import segments
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import parse

FILE = """
name: waits
model: {base: tiny:shapes}
data: {source: shapes}
train: {epochs: 6}
search:
  space: {train.learning_rate: {log_uniform: [1e-5, 1e-1]}}
  objective: {metric: loss}
"""
GO_ON, WAIT = TrialScheduler.CONTINUE, TrialScheduler.PAUSE


@dataclass(eq=False)
class NumberedTrial:
    """All that is read of a trial."""

    config: dict
    trial_id: str
    status: str = "RUNNING"


class Searcher:
    """Hears who waits."""

    def __init__(self):
        self.waiting = set()

    def on_pause(self, name):
        self.waiting.add(name)

    def on_unpause(self, name):
        self.waiting.remove(name)


class Play:
    """A population whose trials report as Tune's would."""

    def __init__(self, folder, trials=4, to_come=False, **schedule):
        self.folder, self.to_come = folder, to_come
        self.sweep = parse(FILE, overrides=[f"schedule.name={schedule.pop('name', 'pbt')}"])
        self.made = schedulers.make(
            "pbt", modes=["min"], epochs=6, grace=1, reduction=3, options=schedule
        )
        self.made.join(self.sweep, folder, lambda: self.to_come)
        self.searcher = Searcher()
        self.controller = SimpleNamespace(search_alg=SimpleNamespace(searcher=self.searcher))
        self.trials = [self.begin(number) for number in range(trials)]

    def begin(self, number):
        point = {"train.learning_rate": 1e-3}
        trial = NumberedTrial({"number": number, "point": point}, f"tune-{number}")
        self.made.on_trial_add(self.controller, trial)
        return trial

    def report(self, number, rung, loss, **more):
        """A rung of a trial, whose snapshot is there before; a trial that is to wait does."""
        name = f"trial-{number:03d}"
        self.folder.snapshot(name, rung).mkdir(parents=True, exist_ok=True)
        (self.folder.snapshot(name, rung) / "whose").write_text(name)
        trial = self.trials[number]
        decision = self.made.on_trial_result(
            self.controller, trial, {"rung": rung, "objective": loss, **more}
        )
        trial.status = "PAUSED" if decision == WAIT else "RUNNING"
        return decision

    def chosen(self):
        return self.made.choose_trial_to_run(self.controller)

    def whose(self, number, rung):
        return (self.folder.snapshot(f"trial-{number:03d}", rung) / "whose").read_text()


@pytest.fixture
def folder(tmp_path):
    return SweepFolder.create(tmp_path, "waits")


@pytest.fixture
def play(folder):
    return Play(folder)


def test_trials_wait_for_the_last_one_and_the_worst_takes_over_from_the_best(play, folder):
    assert [play.report(number, 1, 1.0) for number in range(4)] == [GO_ON] * 4
    for number, loss in enumerate((3.0, 1.0, 4.0)):
        assert play.report(number, 2, loss) == WAIT
    assert play.chosen() is None
    assert play.report(3, 2, 2.0) == WAIT
    assert play.chosen() in play.trials
    assert play.searcher.waiting == set()
    (segment,) = segments.every(folder)
    assert (segment.trial, segment.rung, segment.donor) == ("trial-002", 2, "trial-001")
    assert segment.point["train.learning_rate"] != 1e-3
    assert [play.whose(number, 2)[-1] for number in range(4)] == ["0", "1", "1", "3"]


@pytest.mark.parametrize(
    ("grace", "interval", "rungs"),
    [(1, 2, [2, 4, 6, 8]), (3, 2, [3, 5, 7]), (1, 1, [*range(1, 9)]), (2, 8, [8]), (9, 1, [])],
)
def test_each_interval_after_the_grace_ends_in_a_comparison_but_not_the_last_rung(
    folder, grace, interval, rungs
):
    made = schedulers.make(
        "pbt", modes=["min"], epochs=9, grace=grace, reduction=3,
        options={"perturbation_interval": interval},
    )  # fmt: skip
    play = Play(folder, trials=0)
    trial = play.begin(0)
    decisions = {
        rung: made.on_trial_result(play.controller, trial, {"rung": rung, "objective": 1.0})
        for rung in range(1, 10)
    }
    assert [rung for rung, decision in decisions.items() if decision == WAIT] == rungs


def test_nobody_is_compared_before_all_trials_have_begun(folder):
    play = Play(folder, trials=2, to_come=True)
    assert [play.report(number, 2, float(number)) for number in range(2)] == [WAIT, WAIT]
    assert play.chosen() is None
    assert segments.generations(folder) == []
    play.trials.append(play.begin(2))
    play.to_come = False
    assert play.chosen() is None
    play.report(2, 2, 5.0)
    assert play.chosen() is not None
    assert [one.trial for one in segments.every(folder)] == ["trial-002"]


@pytest.mark.parametrize("end", ["on_trial_complete", "on_trial_remove", "on_trial_error"])
def test_who_ends_is_waited_for_no_more_and_gives_nothing(play, folder, end):
    for number, loss in enumerate((2.0, 3.0, 1.0)):
        play.report(number, 2, loss)
    gone = [play.trials[3], play.trials[2]]  # one that trained, and the best of those that waited
    for trial in gone:
        more = [{"rung": 2}] if end == "on_trial_complete" else []
        getattr(play.made, end)(play.controller, trial, *more)
    assert play.chosen() in play.trials[:2]
    assert [(one.trial, one.donor) for one in segments.every(folder)] == [
        ("trial-001", "trial-000")
    ]
    assert set(segments.generations(folder)[0].scores) == {"trial-000", "trial-001"}


def test_the_trial_with_the_fewest_rungs_goes_on_first(folder):
    play = Play(folder, trials=2)
    play.trials[0].status = play.trials[1].status = "PENDING"
    play.report(0, 1, 1.0)
    play.trials[0].status = "PENDING"
    assert play.chosen() is play.trials[1]


@pytest.mark.parametrize(
    "sick", [{"loss": None}, {"loss": math.nan}, {"symptoms": ["empty"]}, {"violates": "too big"}]
)
def test_who_is_not_well_takes_over_and_never_gives(play, folder, sick):
    """By its loss alone it would be the best."""
    for number in range(3):
        play.report(number, 2, 2.0 + number)
    given = {"loss": 0.1, **sick}
    play.report(3, 2, given.pop("loss"), **given)
    play.chosen()
    (segment,) = segments.every(folder)
    assert (segment.trial, segment.donor) == ("trial-003", "trial-000")


def test_an_earlier_drivers_comparison_is_not_made_again(play, folder):
    for number in range(4):
        play.report(number, 2, float(number))
    play.chosen()
    before = segments.generations(folder)
    again = Play(folder)
    assert [again.report(number, 2, float(number)) for number in range(4)] == [GO_ON] * 4
    for number in range(4):
        again.report(number, 4, float(-number))
    again.chosen()
    assert segments.generations(folder)[:1] == before
    assert [one.rung for one in segments.generations(folder)] == [2, 4]


def test_a_point_is_made_of_what_the_donor_has_now(folder):
    play = Play(folder, resample=0)
    for rung, losses in ((2, (1.0, 2.0, 3.0, 9.0)), (4, (2.0, 9.0, 3.0, 1.0))):
        for number, loss in enumerate(losses):
            play.report(number, rung, loss)
        play.chosen()
    first, second = segments.every(folder)
    assert (first.trial, second.donor) == ("trial-003", "trial-003")
    rates = [one.point["train.learning_rate"] for one in (first, second)]
    assert rates[0] in (pytest.approx(8e-4), pytest.approx(1.2e-3))
    assert rates[1] / rates[0] in (pytest.approx(0.8), pytest.approx(1.2))
