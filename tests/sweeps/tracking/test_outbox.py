"""What is reported while MLflow is away: kept in order, sent once, whatever dies meanwhile."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
from PIL import Image

from sweeps.results.best import Best
from sweeps.results.scores_file import Captions, Scores
from sweeps.tracking import outbox
from sweeps.tracking.trial_run import TrialRun
from workers.data.sample import Sample
from workers.report import Prediction, Report

SAMPLES = [
    Sample(id=f"{number}.png", open=lambda: Image.new("RGB", (30, 20), "red"), captions=("red",))
    for number in range(2)
]
PREDICTIONS = [
    Prediction(image_id=one.id, caption="a red square", references=one.captions) for one in SAMPLES
]


def report(rung, **more):
    metrics = {"train/loss": 2.0, "val/cider": rung / 10, **more}
    return Report(rung=rung, metrics=metrics, finished=False, seconds=1.25)


def opened(sweep, name="trial-000"):
    return TrialRun.open(
        sweep.tracking, sweep.run_id, name, f"{name} r8",
        params={"adapter.rank": 8}, tags={"host": "host-0"},
    )  # fmt: skip


def history(sweep, trial, key):
    points = sweep.client.get_metric_history(trial.run_id, key)
    return sorted((point.step, point.value) for point in points)


def read(sweep, trial):
    return sweep.client.get_run(trial.run_id)


def waits(trial):
    return len(list(trial.outbox.file.pending()))


def artifacts(sweep, trial, folder):
    return sorted(file.path for file in sweep.client.list_artifacts(trial.run_id, folder))


def test_what_is_reported_while_mlflow_is_away_is_stored_in_order_when_it_is_back(
    sweep, proxy, hurried
):
    trial = opened(sweep)
    trial.report(report(0), "cider")
    proxy.down()
    for rung in (1, 2, 3):
        trial.report(report(rung), "cider")
    assert waits(trial) == 3
    proxy.up()
    hurried()
    trial.report(report(4), "cider")
    assert waits(trial) == 0
    assert history(sweep, trial, "val/cider") == [(n, n / 10) for n in range(5)]
    stored = [point.value for point in sweep.client.get_metric_history(trial.run_id, "val/cider")]
    assert stored == [0, 0.1, 0.2, 0.3, 0.4]


def test_a_trial_that_begins_while_mlflow_is_away_has_its_whole_run_later(sweep, proxy, hurried):
    proxy.down()
    before = int(time.time() * 1000)
    trial = opened(sweep)
    assert trial.run_id == ""
    trial.report(report(0), "cider")
    trial.images(SAMPLES, ["a red square", "red"], 0)
    trial.report(report(1), "cider")
    trial.best({"val/cider": 0.1}, 1)
    trial.predictions(PREDICTIONS, SAMPLES)
    sweep.close_trial("trial-000", "failed", "ValueError: boom")
    after = int(time.time() * 1000)

    proxy.up()
    hurried()
    trial.outbox.flush()
    assert waits(trial) == 0
    run = read(sweep, trial)
    assert (run.info.run_name, run.info.status) == ("trial-000 r8", "FAILED")
    assert before <= run.info.start_time <= run.info.end_time <= after
    assert run.data.params == {"adapter.rank": "8"}
    tags = run.data.tags
    assert (tags["trial.id"], tags["trial.state"], tags["host"]) == (
        "trial-000",
        "failed",
        "host-0",
    )
    assert (tags["trial.error"], tags["sweep.id"]) == ("ValueError: boom", "s-1")
    assert tags["mlflow.parentRunId"] == sweep.run_id
    assert history(sweep, trial, "val/cider") == [(0, 0.0), (1, 0.1)]
    assert run.data.metrics["best/rung"] == 1
    assert artifacts(sweep, trial, "eval") == ["eval/predictions.json"]
    assert len(artifacts(sweep, trial, "images")) == 4
    assert [each.info.run_id for each in sweep.trials()] == [trial.run_id]


def test_an_answer_that_was_lost_doubles_nothing(sweep, proxy, hurried):
    proxy.lose = -1  # MLflow does what it is told, and nobody hears of it
    trial = opened(sweep)
    trial.report(report(0), "cider")
    hurried()
    trial.report(report(1), "cider")
    trial.best({"val/cider": 0.1}, 1)
    hurried()
    trial.images(SAMPLES[:1], ["red"], 0)
    assert waits(trial) > 0
    proxy.lose = 0
    hurried()
    trial.outbox.flush()
    assert waits(trial) == 0
    (run,) = sweep.trials()
    assert run.info.run_id == trial.run_id
    for key, points in {"val/cider": 2, "time/rung_seconds": 2, "best/cider": 1}.items():
        assert len(history(sweep, trial, key)) == points, key
    assert len(artifacts(sweep, trial, "images")) == 2


@pytest.mark.parametrize("lost", [1, 2, 3, 4])
def test_any_single_lost_answer_doubles_nothing(sweep, proxy, hurried, lost):
    trial = opened(sweep)
    proxy.lose = lost  # of those that are sent next
    trial.report(report(0), "cider")
    hurried()
    trial.report(report(1), "cider")
    hurried()
    trial.outbox.flush()
    hurried()
    trial.outbox.flush()
    assert waits(trial) == 0
    assert history(sweep, trial, "val/cider") == [(0, 0.0), (1, 0.1)]


def test_a_retried_trial_tells_no_rung_twice_though_mlflow_was_away(sweep, proxy, hurried):
    opened(sweep).report(report(0), "cider")
    proxy.down()
    again = opened(sweep)  # its host died: it cannot know what is stored
    again.report(report(0), "cider")
    again.report(report(1), "cider")
    proxy.up()
    hurried()
    again.outbox.flush()
    assert history(sweep, again, "val/cider") == [(0, 0.0), (1, 0.1)]


def test_nobody_waits_long_for_an_mlflow_that_is_away(sweep, proxy):
    trial = opened(sweep)
    proxy.down()
    trial.report(report(0), "cider")
    proxy.up()  # it would answer, but is not asked at every rung
    before = proxy.requests
    trial.report(report(1), "cider")
    assert (waits(trial), proxy.requests) == (2, before)
    assert trial.outbox.line.is_away


def test_an_error_of_the_server_is_no_loss(sweep, proxy, hurried):
    trial = opened(sweep)
    proxy.breaks = b"HTTP"
    trial.report(report(0), "cider")
    assert (waits(trial), trial.outbox.file.refused()) == (1, [])
    proxy.breaks = None
    hurried()
    trial.outbox.flush()
    assert history(sweep, trial, "val/cider") == [(0, 0.0)]


def test_what_mlflow_refuses_is_put_aside_with_its_reason_and_stops_nothing(sweep, proxy):
    trial = opened(sweep)
    run_id = trial.run_id
    trial.outbox.run.run_id = "0" * 32
    trial.report(report(0), "cider")
    assert waits(trial) == 0
    (reason,) = trial.outbox.file.refused()
    assert "not found" in reason
    before = proxy.requests
    trial.outbox.flush()
    assert proxy.requests == before  # nor is it asked for ever
    trial.outbox.run.run_id, trial.outbox.run.stored = run_id, None
    trial.report(report(1), "cider")
    assert history(sweep, trial, "val/cider") == [(1, 0.1)]


def test_an_entry_that_breaks_the_server_does_not_hold_up_the_others(sweep, proxy, hurried):
    trial = opened(sweep)
    proxy.breaks = b"poison"
    trial.report(report(0, poison=1.0), "cider")
    for rung in (1, 2, 3):
        hurried()
        trial.report(report(rung), "cider")
    (reason,) = trial.outbox.file.refused()
    assert "503" in reason
    assert history(sweep, trial, "val/cider") == [(n, n / 10) for n in (1, 2, 3)]


def test_what_is_spooled_outlives_a_kill_of_its_host(sweep, proxy, served, hurried):
    proxy.down()
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from sweeps.tracking.client import Tracking\n"
        "from sweeps.tracking.trial_run import TrialRun\n"
        "from workers.report import Report\n"
        f"tracking = Tracking(uri={served.uri!r}, experiment={served.experiment!r},\n"
        f"                    root=Path({str(served.root)!r}), spool=Path({str(served.spool)!r}))\n"
        f"parent = {sweep.run_id!r}\n"
        "run = TrialRun.open(tracking, parent, 'trial-000', 't', params={}, tags={})\n"
        "for rung in range(3):\n"
        "    metrics = {'val/cider': rung / 10}\n"
        "    run.report(Report(rung=rung, metrics=metrics, finished=False, seconds=1), 'cider')\n"
        "print('told', flush=True)\n"
        "time.sleep(60)\n"
    )
    host = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert host.stdout.readline() == "told\n"
    os.kill(host.pid, signal.SIGKILL)
    host.wait()
    proxy.up()
    hurried()
    box = outbox.of_trial(served, sweep.run_id, "trial-000")
    assert box.flush() == 4
    points = sweep.client.get_metric_history(box.run.run_id, "val/cider")
    assert [(point.step, point.value) for point in points] == [(0, 0.0), (1, 0.1), (2, 0.2)]


def test_two_who_send_at_once_send_each_entry_once(sweep, proxy, served, hurried):
    trial = opened(sweep)
    proxy.down()
    for rung in range(6):
        trial.report(report(rung), "cider")
    proxy.up()
    hurried()
    boxes = [outbox.of_trial(served, sweep.run_id, "trial-000") for _ in range(2)]
    sent = []
    senders = [threading.Thread(target=lambda b=box: sent.append(b.flush())) for box in boxes]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert sum(sent) == 6
    assert history(sweep, trial, "val/cider") == [(n, n / 10) for n in range(6)]


def test_diverged_metrics_reach_a_server_late_as_they_are(sweep, proxy, hurried):
    trial = opened(sweep)
    proxy.down()
    trial.report(report(0, **{"val/loss": math.nan, "train/loss": math.inf}), "cider")
    proxy.up()
    hurried()
    trial.outbox.flush()
    assert trial.outbox.file.refused() == []
    assert math.isnan(history(sweep, trial, "val/loss")[0][1])
    assert history(sweep, trial, "train/loss")[0][1] > 1e300


def test_the_scores_that_count_are_those_that_wait(sweep, proxy, scored):
    trial = opened(sweep)
    assert trial.kept_scores() is None
    scores = [
        Scores(references="abc", best=Captions(beams=1, scored=scored(hits)))
        for hits in ([1, 0], [1, 1])
    ]
    trial.scores(scores[0])
    assert trial.kept_scores().best.scored.corpus == scores[0].best.scored.corpus
    proxy.down()
    trial.scores(scores[1])
    assert trial.kept_scores().best.scored.corpus == scores[1].best.scored.corpus


def test_a_rung_with_its_symptoms_and_the_best_one_is_one_write(sweep, proxy):
    trial = opened(sweep)
    trial.report(report(0), "cider")
    before = proxy.requests
    best = Best(value=0.1, rung=1, metrics={"val/cider": 0.1})
    trial.report(replace(report(1), symptoms=("it repeats itself",)), "cider", best)
    trial.violates(None)
    assert proxy.requests == before + 1
    run = read(sweep, trial)
    assert run.data.tags["trial.symptoms"] == "rung 1: it repeats itself"
    assert (run.data.metrics["best/cider"], run.data.metrics["best/rung"]) == (0.1, 1)
