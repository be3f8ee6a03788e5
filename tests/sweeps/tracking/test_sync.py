"""What waits in a sweep's folder is sent by `sweeps sync`; what has no driver any more is ended."""

import io
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
from rich.console import Console

from sweeps.board import leaderboard
from sweeps.cli import status
from sweeps.cli.sync_sweeps import SENT, WAITS, sync_sweeps
from sweeps.doctor import checkup
from sweeps.driver.run import run
from sweeps.results import best, lease
from sweeps.results.folder import SweepFolder
from sweeps.results.lease import Driver
from sweeps.spec.load import dump, parse
from sweeps.spec.problems import RefusedError
from sweeps.study.study import TRIAL, prepare_study
from sweeps.tracking.client import Tracking
from sweeps.tracking.sweep_run import SweepRun
from tests.sweeps.published import PublishedTrial
from workers.report import Report

FILE = """
name: s
model: {base: tiny:shapes}
data: {source: shapes}
evaluate: {metrics: [exact_match]}
search:
  space: {adapter.rank: {choice: [2, 4, 8]}}
  objective: {metric: exact_match}
  trials: 2
"""
VALUES = {"trial-000": (0.2, 0.5), "trial-001": (0.4, 0.3)}
"""Trial -> objective at each rung."""


@pytest.fixture
def sweep(proxy, request):
    tracking = f"tracking: {{uri: '{proxy.uri}', experiment: '{request.node.name}'}}\n"
    return parse(FILE + tracking)


@pytest.fixture
def folder(tmp_path, sweep):
    made = SweepFolder.create(tmp_path / "results", "s")
    made.spec.write_text(dump(sweep))
    study, _ = prepare_study(sweep, made, resuming=False)
    for name in VALUES:
        study.ask({"adapter.rank": _choice()}).set_user_attr(TRIAL, name)
    return made


def _choice():
    import optuna

    return optuna.distributions.CategoricalDistribution([2, 4, 8])


@pytest.fixture
def tracking(sweep, folder):
    return Tracking(uri=sweep.tracking.uri, experiment=sweep.tracking.experiment, root=folder.root)


@pytest.fixture
def parent(tracking, folder):
    return SweepRun.open(tracking, folder.sweep_id, folder.spec.read_text(), {})


def train(folder, parent, name):
    """Do what a host does with a trial."""
    trial = PublishedTrial.open(parent, name, name)
    values = VALUES[name]
    for rung, value in enumerate(values, 1):
        metrics = {"val/exact_match": value, "train/epochs": rung}
        report = Report(rung=rung, metrics=metrics, finished=rung == len(values), seconds=1.0)
        kept = best.Best(value=max(values[:rung]), rung=1 + values.index(max(values[:rung])),
                         metrics={"val/exact_match": max(values[:rung])})  # fmt: skip
        trial.report(report, "exact_match", kept)
    return trial


def over(folder, sweep, name):
    """Let the study know that a trial is complete."""
    study, _ = prepare_study(sweep, folder, resuming=True)
    number = {t.user_attrs[TRIAL]: t.number for t in study.get_trials()}[name]
    study.tell(number, VALUES[name][-1])


def said(command, *arguments):
    text = io.StringIO()
    code = command(*arguments, Console(file=text, width=200))
    return code, text.getvalue()


def statuses(parent):
    runs = [*parent.trials(), parent.client.get_run(parent.run_id)]
    return {run.data.tags.get("trial.id", "sweep"): run.info.status for run in runs}


def away_all_along(proxy, folder, parent, sweep):
    proxy.down()
    for name in VALUES:
        train(folder, parent, name)
        over(folder, sweep, name)
        parent.close_trial(name, "completed")
    parent.close("completed", best_trial="trial-000", best={}, note="of the records")


def test_a_sweep_that_ended_without_mlflow_is_published_whole(proxy, folder, parent, sweep):
    away_all_along(proxy, folder, parent, sweep)
    _, text = said(status.show, "s-1", folder.root)
    assert "10 entries wait for MLflow (sweep, trial-000, trial-001): sweeps sync s-1" in text
    with pytest.raises(ConnectionError, match=rf"MLflow does not answer at {proxy.uri}"):
        sync_sweeps("s-1", folder.root, Console(file=io.StringIO()))

    proxy.up()
    code, text = said(sync_sweeps, "s-1", folder.root)
    assert (code, "s-1: 10 entries sent" in text) == (SENT, True), text
    assert "leaderboard of 2 trials written; best is trial-000" in text
    assert set(statuses(parent).values()) == {"FINISHED"}
    tags = parent.client.get_run(parent.run_id).data.tags
    runs = {run.data.tags["trial.id"]: run.info.run_id for run in parent.trials()}
    assert tags["sweep.best_run"] == runs["trial-000"]
    assert "0.5000" in tags["mlflow.note.content"]
    assert said(sync_sweeps, "s-1", folder.root) == (SENT, "s-1: nothing waits for MLflow\n")
    assert said(sync_sweeps, None, folder.root) == (SENT, "nothing waits for MLflow\n")


def test_another_process_sends_what_waits(proxy, folder, parent, sweep):
    away_all_along(proxy, folder, parent, sweep)
    proxy.up()
    done = subprocess.run(
        [sys.executable, "-c", "from sweeps.cli.app import main; main()", "sync", "s-1",
         "--results", str(folder.root)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "10 entries sent" in done.stdout
    assert len(parent.trials()) == 2


def test_the_records_have_the_same_leaderboard(proxy, folder, parent, sweep):
    for name in VALUES:
        train(folder, parent, name)
        over(folder, sweep, name)
        parent.close_trial(name, "completed")
    recorded = leaderboard.read(sweep, folder)
    runs = {run.data.tags["trial.id"]: run.data for run in parent.trials()}
    for trial in recorded.trials:
        metrics = runs[trial.name].metrics
        best = {f"best/{name}": value for name, value in trial.best.items()}
        best["best/rung"] = trial.best_rung
        assert best == {key: value for key, value in metrics.items() if key.startswith("best/")}
        assert (trial.state, trial.rung) == (
            runs[trial.name].tags["trial.state"], metrics["train/epochs"]
        )  # fmt: skip
    proxy.down()
    assert leaderboard.read(sweep, folder) == recorded
    assert recorded.winner.name == "trial-000"


@pytest.mark.parametrize("command", [sync_sweeps, checkup.compare_records])
def test_what_a_killed_driver_left_running_is_ended_with_the_truth(
    proxy, folder, parent, sweep, command
):
    for name in VALUES:
        train(folder, parent, name)
    over(folder, sweep, "trial-000")  # and its driver died before it told MLflow
    dead = replace(Driver.this(), pid=2**22 + 1)
    folder.driver.write_text(json.dumps(asdict(dead)))
    _, text = said(command, "s-1", folder.root)
    assert "ended 2 runs without a driver: trial-000, trial-001" in text
    ended = {"trial-000": "FINISHED", "trial-001": "KILLED", "sweep": "KILLED"}
    assert statuses(parent) == ended
    states = {run.data.tags["trial.id"]: run.data.tags["trial.state"] for run in parent.trials()}
    assert states == {"trial-000": "completed", "trial-001": "interrupted"}
    assert lease.read(folder) is None


@pytest.mark.parametrize("command", [sync_sweeps, checkup.compare_records])
def test_what_runs_is_never_ended(proxy, folder, parent, command):
    proxy.down()
    train(folder, parent, "trial-000")
    proxy.up()
    folder.driver.write_text(json.dumps(asdict(Driver.this())))
    said(command, "s-1", folder.root)
    assert parent.is_running
    if command is sync_sweeps:
        assert statuses(parent) == {"trial-000": "RUNNING", "sweep": "RUNNING"}
    assert json.loads(folder.driver.read_text())["pid"] == os.getpid()


def test_doctor_names_what_waits_and_its_fix(proxy, folder, parent, sweep):
    train(folder, parent, "trial-001")
    proxy.down()
    train(folder, parent, "trial-000")
    proxy.up()
    code, text = said(checkup.compare_records, "s-1", folder.root)
    assert code == checkup.DIFFERENT
    assert re.search(r"trial-000 +3 entries wait for MLflow -> sweeps sync s-1", text)
    assert "rungs" not in text.split("trial-000")[1].splitlines()[0]


def test_what_mlflow_refused_is_sent_once_its_reason_is_fixed(proxy, folder, parent):
    trial = train(folder, parent, "trial-000")
    parent.close_trial("trial-000", "completed")
    parent.client.delete_run(trial.run_id)
    trial.best({"val/exact_match": 0.9}, 7)
    assert "must be in the 'active' state" in said(status.show, "s-1", folder.root)[1]
    code, text = said(sync_sweeps, "s-1", folder.root)
    assert (code, "MLflow refused an entry of trial-000" in text) == (WAITS, True)
    parent.client.restore_run(trial.run_id)
    assert said(sync_sweeps, "s-1", folder.root)[0] == SENT
    assert parent.client.get_run(trial.run_id).data.metrics["best/rung"] == 7


def test_what_stays_away_still_waits(proxy, folder, parent, sweep):
    away_all_along(proxy, folder, parent, sweep)
    proxy.up()
    proxy.breaks = b"log-batch"
    code, text = said(sync_sweeps, "s-1", folder.root)
    assert (code, "wait for MLflow" in text) == (WAITS, True), text


def test_a_sweep_is_refused_where_mlflow_does_not_answer(proxy, sweep, tmp_path):
    proxy.down()
    with pytest.raises(RefusedError, match=rf"tracking.uri: MLflow does not answer at {proxy.uri}"):
        run(sweep, tmp_path / "new", Console(file=io.StringIO()))
    assert not list((tmp_path / "new").glob("*/sweep.yaml"))
