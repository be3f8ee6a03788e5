import json

import pytest

from sweeps.board.leaderboard import Leaderboard
from sweeps.pages.facts import cost, duration
from sweeps.results import record
from sweeps.results.folder import SweepFolder
from sweeps.rung_result import RungResult
from sweeps.spec.objectives import Objective
from sweeps.study.trials import TrialState


def board(folder, *states):
    names = [f"trial-{number:03d}" for number in range(len(states))]
    trials = [
        TrialState(name=name, point={}, state=state, rungs=record.read(folder, name))
        for name, state in zip(names, states, strict=True)
    ]
    return Leaderboard.of(folder.sweep_id, (Objective(),), trials)


@pytest.fixture
def folder(tmp_path):
    made = SweepFolder.create(tmp_path, "s")
    made.clock.write_text(json.dumps({"seconds": 5400}))
    for rung, seconds in ((0, 10.0), (1, 1200.0), (2, 2390.0)):
        record.append(made, "trial-000", RungResult(rung=rung, seconds=seconds, metrics={}))
    return made


def test_hours_are_the_clock_s_and_the_rungs_and_rung_0_is_no_epoch(folder):
    assert cost(folder, board(folder, "completed", "stopped", "stopped"), 0.5) == {
        "wall time": "1.5 h",
        "time of all rungs": "1.0 h",
        "epochs": "2",
        "trials": "3: 1 completed, 2 stopped",
    }


def test_where_memory_of_a_gpu_was_measured_the_rungs_are_gpu_time(folder):
    metrics = {"measured/peak_memory_gb": 3.5}
    record.append(folder, "trial-001", RungResult(rung=1, seconds=3600.0, metrics=metrics))
    made = board(folder, "completed", "stopped")
    assert cost(folder, made, 1.0)["GPU time"] == "2.0 h"
    assert cost(folder, made, 0.5)["GPU time"] == "1.0 h"
    assert cost(folder, board(folder), 1.0)["trials"] == "none"


@pytest.mark.parametrize(
    ("hours", "text"), [(3.25, "3.2 h"), (0.9, "54 min"), (0.03, "108 s"), (0, "0 s")]
)
def test_durations_have_the_unit_that_fits(hours, text):
    assert duration(hours) == text
