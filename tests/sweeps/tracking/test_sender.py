"""What hosts beside the driver put on disk, told to a real MLflow by the driver's thread."""

import time
from dataclasses import replace

import pytest

from sweeps.results.folder import SweepFolder
from sweeps.tracking.sender import Teller, telling
from sweeps.tracking.trial_run import TrialRun
from workers.report import Report


@pytest.fixture
def folder(served):
    return SweepFolder(root=served.root, sweep_id="s-1")


@pytest.fixture
def trial(sweep):
    """A trial as a host has it that leaves MLflow to the driver."""
    return TrialRun.open(
        replace(sweep.tracking, sends=False), sweep.run_id, "trial-000", "trial-000 r8",
        params={"adapter.rank": 8}, tags={"host": "host-0"},
    )  # fmt: skip


def report(trial, *rungs):
    for rung in rungs:
        metrics = {"val/cider": rung / 10}
        trial.report(Report(rung=rung, metrics=metrics, finished=False, seconds=1.0), "cider")


def stored(sweep):
    """Return the rungs that MLflow has of the only trial, and its state; None without a run."""
    for run in sweep.trials():
        points = sweep.client.get_metric_history(run.info.run_id, "val/cider")
        return sorted(point.step for point in points), run.data.tags["trial.state"]
    return None


def until(holds, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_host_that_does_not_send_leaves_all_on_disk_in_its_order(sweep, folder, trial):
    report(trial, 1, 2)
    assert stored(sweep) is None
    sweep.kept().close_trial("trial-000", "completed")
    assert Teller(sweep.tracking, sweep.run_id, folder).tell() == 4
    assert stored(sweep) == ([1, 2], "completed")
    assert trial.outbox.file.is_empty


def test_the_thread_tells_what_comes_while_the_sweep_runs(sweep, folder, trial):
    with telling(sweep.tracking, sweep.run_id, folder):
        report(trial, 1)
        until(lambda: stored(sweep) == ([1], "running"))
        report(trial, 2, 3)
        until(lambda: stored(sweep) == ([1, 2, 3], "running"))
    report(trial, 4)
    assert [entry.values["rung"] for entry in trial.outbox.file.pending()] == [4]


def test_an_mlflow_that_is_away_is_told_later(sweep, folder, trial, proxy, hurried):
    teller = Teller(sweep.tracking, sweep.run_id, folder)
    proxy.down()
    report(trial, 1, 2)
    assert teller.tell() == 0
    proxy.up()
    hurried()
    assert teller.tell() == 3
    assert stored(sweep) == ([1, 2], "running")


def test_a_trial_is_told_what_another_process_has_begun_to_tell(sweep, folder, trial):
    """After a crash nobody knows what was sent: it is sent again, and stored once."""
    report(trial, 1)
    entries = trial.outbox.file.folder / "entries.jsonl"
    kept = entries.read_bytes()
    assert Teller(sweep.tracking, sweep.run_id, folder).tell() == 2
    entries.write_bytes(kept)
    report(trial, 2)
    assert Teller(sweep.tracking, sweep.run_id, folder).tell() == 3
    assert stored(sweep) == ([1, 2], "running")


def test_what_is_written_while_it_sends_is_neither_lost_nor_waits_for_mlflow(sweep, folder, trial):
    with trial.outbox.file.sending():  # as long as MLflow takes
        report(trial, 1)
    sweep.kept().tag({"a": "b"})
    teller = Teller(sweep.tracking, sweep.run_id, folder)
    assert teller.tell() == 3
    assert sweep.client.get_run(sweep.run_id).data.tags["a"] == "b"
    assert teller.tell() == 0
