"""Every difference between study, records and MLflow is named, with its fix."""

import dataclasses
from dataclasses import replace

import pytest

from sweeps.doctor.agreement import OnDisk, Tracked, differences
from sweeps.results.best import Best
from sweeps.results.segments import Segment
from sweeps.rung_result import RungResult
from sweeps.study.trials import TrialState


def state_of(name, rungs=(1, 2), state="completed", reported=(1, 2), best=0.5):
    return TrialState(
        name=name,
        state=state,
        point={},
        rungs=[RungResult(rung=rung, objective=0.5, best=best) for rung in rungs],
        reported=dict.fromkeys(reported, 0.5),
        adapter=Best(value=best, rung=1, metrics={}),
    )


TRIALS = {
    "trial-000": state_of("trial-000"),
    "trial-001": state_of("trial-001", (1,), "running", (1,)),
}
RUNS = {
    "trial-000": [Tracked(state="completed", rungs=(0, 1, 2), best=0.5)],
    "trial-001": [Tracked(state="interrupted", rungs=(0, 1), best=0.5)],
}
DISK = OnDisk(
    folders=frozenset(TRIALS),
    adapters=frozenset(TRIALS),
    snapshots={"trial-001": (1,)},
    kept=frozenset(TRIALS),
)


def run(name, **changes):
    return {**RUNS, name: [dataclasses.replace(RUNS[name][0], **changes)]}


def trial(name, *args, **changes):
    return {**TRIALS, name: state_of(name, *args, **changes)}


def found(trials=TRIALS, runs=RUNS, **disk):
    return differences(trials, runs, dataclasses.replace(DISK, **disk), "sweep-1")


def test_a_sweep_in_good_order_has_no_differences():
    assert found() == []


SEGMENT = Segment(trial="trial-000", rung=1, donor="trial-001", point={}, perturbed=())
CHANGED = {
    **TRIALS,
    "trial-000": dataclasses.replace(
        TRIALS["trial-000"],
        segments=(SEGMENT,),
        reported={1: 0.5},
        rungs=[replace(rung, changes=rung.rung - 1) for rung in TRIALS["trial-000"].rungs],
    ),
}


def test_rungs_with_another_point_are_not_in_the_study_and_their_segment_has_a_run():
    assert found(trials=CHANGED, runs=run("trial-000", segments=(1,))) == []
    (difference,) = found(trials=CHANGED)
    assert difference.path == "trial-000"
    assert "segments from rungs 1 on have no run in MLflow" in difference.message


@pytest.mark.parametrize(
    ("given", "where", "word"),
    [
        ({"trials": {"trial-000": TRIALS["trial-000"]}}, "trial-001", "not in the study"),
        ({"runs": {"trial-001": RUNS["trial-001"]}}, "trial-000", "no run in MLflow"),
        ({"runs": {**RUNS, "trial-000": RUNS["trial-000"] * 2}}, "trial-000", "2 runs"),
        ({"folders": frozenset({*TRIALS, "trial-007"})}, "trial-007", "in the folder"),
        ({"runs": run("trial-000", state="stopped")}, "trial-000", "stopped in MLflow"),
        ({"runs": run("trial-001", state="completed")}, "trial-001", "completed in MLflow"),
        ({"runs": run("trial-001", state="running")}, "trial-001", "no driver"),
        ({"runs": run("trial-000", rungs=(0, 1))}, "trial-000", "rungs 2 are not in MLflow"),
        ({"runs": run("trial-000", rungs=(0, 1, 2, 3))}, "trial-000", "rungs 3 are in MLflow only"),
        ({"runs": run("trial-000", rungs=(0, 1, 1, 2))}, "trial-000", "rung 1 is 2 times"),
        ({"runs": run("trial-000", best=0.7)}, "trial-000", "0.5 on disk and 0.7 in MLflow"),
        ({"trials": trial("trial-000", (1, 1, 2))}, "trial-000", "twice on record"),
        ({"trials": trial("trial-000", reported=(1,))}, "trial-000", "not in the study"),
        ({"trials": trial("trial-000", reported=(1, 2, 3))}, "trial-000", "in the study only"),
        ({"adapters": frozenset({"trial-001"})}, "trial-000", "adapter is missing"),
        ({"snapshots": {"trial-000": (1, 2)}}, "trial-000", "snapshots 1, 2"),
        ({"stale_driver": "process 7 on node"}, "sweep-1", "process 7 on node"),
    ],
)
def test_each_difference_is_named_alone_and_with_its_fix(given, where, word):
    (difference,) = found(**given)
    assert difference.path == where
    assert word in difference.message
    assert difference.fix


@pytest.mark.parametrize(
    "given",
    [
        {"runs": run("trial-001", state="running")},
        {"runs": run("trial-001", rungs=(0,))},
        {"runs": run("trial-001", rungs=(0, 1, 2))},
        {"trials": trial("trial-001", (1, 2), "running", (1,))},
    ],
)
def test_a_moment_s_delay_is_no_difference_while_a_driver_lives(given):
    given = {"runs": run("trial-001", state="running"), **given}
    assert found(**given, driven=True) == []


def test_an_adapter_that_nobody_needs_may_be_gone():
    assert found(adapters=frozenset({"trial-001"}), kept=frozenset({"trial-001"})) == []
