"""What a driver writes for who follows its log is read back as the very progress it had."""

import io

from rich.console import Console

from sweeps.driver import events
from sweeps.driver.live import Events
from sweeps.driver.progress import Progress
from sweeps.rung_result import RungResult
from sweeps.spec.objectives import Objective
from sweeps.study.trials import TrialState

POINT = {"train.learning_rate": 3e-4, "quantization": "nf4"}


def progress(**changes):
    settings = {
        "sweep_id": "shapes-1", "objectives": (Objective(metric="loss"),), "wanted": 4, "epochs": 3,
    }  # fmt: skip
    return Progress(**{**settings, **changes})


def driven(made, write):
    """Let a driver write what happens to four trials; one more had ended before."""
    made.recover([TrialState(name="trial-009", point=POINT, state="stopped")])
    with Events(made, write) as screen:
        for number in range(4):
            made.start(number, POINT)
            result = RungResult(rung=1, objective=2.0 - number, best=2.0 - number, metrics={})
            screen.changed(made.result(number, result))
        made.paused = True
        result = RungResult(rung=2, objective=2.5, best=2.0, symptoms=("all alike",))
        screen.changed(made.result(3, result))
        screen.changed(made.end(0, "completed"))
        error = "Traceback\n  more\nValueError: no [/INST]  rung 1/1"
        screen.changed(made.end(1, "failed", error))
        screen.changed(made.end(2, "failed-by-guard", "one caption for all"))


def followed(lines):
    made = None
    for line in lines:
        read = events.read(line, made)
        if read is not None:
            made, _ = read
    return made


def shown(trial):
    return (
        trial.title, trial.state, trial.rung, trial.objective, trial.score, trial.symptoms
    )  # fmt: skip


def test_the_follower_has_the_drivers_trials():
    lines = []
    driver = progress()
    driven(driver, lines.append)
    read = followed(lines)
    assert [shown(trial) for trial in read.trials.values()] == [
        shown(trial) for trial in driver.trials.values()
    ]
    reasons = [trial.reason for trial in read.trials.values()]
    assert reasons == [None, None, "ValueError: no [/INST]  rung 1/1", "one caption for all", None]
    assert read.leaderboard.winner.name == driver.leaderboard.winner.name
    assert (read.ended, read.paused, read.recovered) == (4, True, {"trial-009"})
    assert abs(read.started - driver.started) < 1.0


def test_lines_stay_whole_in_a_narrow_log():
    out = io.StringIO()
    console = Console(file=out, width=40)
    driven(progress(), lambda line: console.print(line, markup=False, soft_wrap=True))
    assert len(followed(out.getvalue().splitlines()).trials) == 5


def test_other_lines_are_for_the_reader():
    made = progress()
    for line in ["", "trial-001", '{"trial": ', '{"trial": 1}', '{"other": 1}', "done"]:
        assert events.read(line, made) is None
    assert made.trials == {}


def test_a_trial_before_its_sweep_is_no_event():
    assert events.read('{"trial": "trial-001", "point": {}, "state": "running"}', None) is None
