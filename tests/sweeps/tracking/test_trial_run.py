"""A trial whose point changes while MLflow is away has the runs of its segments later."""

import pytest

from sweeps.results.segments import Segment
from sweeps.tracking import trial_run
from sweeps.tracking.publisher import Publisher
from sweeps.tracking.sources import waiting
from tests.sweeps.published import PublishedTrial
from workers.report import Report

SEGMENTS = [
    Segment(trial="trial-000", rung=rung, donor="trial-001", perturbed=("adapter.dropout",),
            point={"adapter.rank": 4, "adapter.dropout": rung / 10})
    for rung in (1, 2)
]  # fmt: skip


def report(rung):
    return Report(rung=rung, metrics={"val/cider": rung / 10}, finished=False, seconds=1.0)


@pytest.mark.parametrize("away", [False, True])
def test_a_segment_is_a_run_below_its_trials(sweep, proxy, retry_now, away):
    def opened(segments):
        return PublishedTrial.open(
            sweep, "trial-000", "trial-000 r4", params={"adapter.rank": 4},
            tags={trial_run.LINEAGE: "trial-001@1"},
            segments=trial_run.segment_runs(segments, {"train.seed": 0}, ()),
        )  # fmt: skip

    opened([]).report(report(1), "cider")
    if away:
        proxy.down()
    opened(SEGMENTS[:1]).report(report(2), "cider")
    opened(SEGMENTS).report(report(3), "cider")
    sweep.close_trial("trial-000", "completed")
    proxy.up()
    retry_now()
    sweep.publisher.publish()

    (run,) = sweep.trials()
    assert (run.info.status, run.info.run_name) == ("FINISHED", "trial-000 r4 d0.2")
    runs = {
        each.data.tags[trial_run.SEGMENT_RUNG]: each
        for each in trial_run.find_segments(sweep.client, run)
    }
    assert {rung: each.info.status for rung, each in runs.items()} == {
        "1": "KILLED", "2": "FINISHED",
    }  # fmt: skip
    for rung, value in {"1": 0.2, "2": 0.3}.items():
        assert runs[rung].data.metrics["val/cider"] == value
        assert runs[rung].data.params["adapter.dropout"] == str(int(rung) / 10)


def test_runs_that_were_deleted_are_made_anew_when_the_trial_is_opened_again(sweep):
    def opened():
        runs = trial_run.segment_runs(SEGMENTS[:1], {}, ())
        return PublishedTrial.open(sweep, "trial-000", "trial-000 r4", segments=runs)

    opened().report(report(2), "cider")
    (before,) = sweep.trials()
    for run in (*trial_run.find_segments(sweep.client, before), before):
        sweep.client.delete_run(run.info.run_id)
    trial = opened()
    assert trial.refused() == []
    (run,) = sweep.trials()
    (segment,) = trial_run.find_segments(sweep.client, run)
    assert segment.data.metrics["val/cider"] == 0.2


def test_a_publisher_that_is_killed_at_any_moment_leaves_no_segment_without_parameters(
    sweep, proxy, served, retry_now
):
    proxy.down()
    runs = trial_run.segment_runs(SEGMENTS, {}, ())
    PublishedTrial.open(sweep, "trial-000", "trial-000 r4", segments=runs)
    proxy.up()
    attempts = 0
    while waiting(sweep.folder).count:
        proxy.answers, attempts = attempts, attempts + 1  # MLflow does the next one, too
        retry_now()
        Publisher(served, sweep.folder, sweep.run_id).publish()
    proxy.answers = None
    assert attempts > 5
    (run,) = sweep.trials()
    for segment in trial_run.find_segments(sweep.client, run):
        assert segment.data.params["adapter.rank"] == "4"
