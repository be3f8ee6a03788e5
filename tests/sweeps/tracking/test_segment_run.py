"""A trial whose point changes while MLflow is away has the runs of its segments later."""

import pytest

from sweeps.results.segments import Segment
from sweeps.tracking import segment_run
from sweeps.tracking.sync import send
from sweeps.tracking.trial_run import TrialRun
from workers.report import Report

SEGMENTS = [
    Segment(trial="trial-000", rung=rung, donor="trial-001", perturbed=("adapter.dropout",),
            point={"adapter.rank": 4, "adapter.dropout": rung / 10})
    for rung in (1, 2)
]  # fmt: skip


@pytest.fixture
def trial(sweep):
    return TrialRun.open(
        sweep.tracking, sweep.run_id, "trial-000", "trial-000 r4",
        params={"adapter.rank": 4}, tags={segment_run.LINEAGE: "trial-001@1"},
    )  # fmt: skip


def opened(trial, segments):
    return segment_run.opened(trial, segments, {"train.seed": 0}, ())


def report(rung):
    return Report(rung=rung, metrics={"val/cider": rung / 10}, finished=False, seconds=1.0)


@pytest.mark.parametrize("away", [False, True])
def test_a_segment_is_a_run_below_its_trials(trial, sweep, proxy, served, hurried, folder, away):
    if away:
        proxy.down()
    (first,) = opened(trial, SEGMENTS[:1])
    first.run.report(report(2), "cider")
    former, newest = opened(trial, SEGMENTS)
    former.run.end("stopped")
    newest.run.report(report(3), "cider")
    sweep.close_trial("trial-000", "completed")
    proxy.up()
    send(sweep, folder)
    sweep.close_running()

    (run,) = sweep.trials()
    assert (run.info.status, run.info.run_name) == ("FINISHED", "trial-000 r4 d0.2")
    runs = {each.data.tags[segment_run.RUNG]: each for each in segment_run.of(sweep.client, run)}
    assert {rung: each.info.status for rung, each in runs.items()} == {
        "1": "KILLED", "2": "FINISHED",
    }  # fmt: skip
    for rung, value in {"1": 0.2, "2": 0.3}.items():
        assert runs[rung].data.metrics["val/cider"] == value
        assert runs[rung].data.params["adapter.dropout"] == str(int(rung) / 10)


@pytest.fixture
def folder(served):
    from sweeps.results.folder import SweepFolder

    made = SweepFolder(root=served.root, sweep_id="s-1")
    assert made.spool == served.spool
    return made
