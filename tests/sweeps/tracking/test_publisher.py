"""What is reported while MLflow is away: kept in order, sent once, whatever dies meanwhile."""

import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
from PIL import Image

from sweeps.host.trial_record import TrialRecord
from sweeps.results import record
from sweeps.results.best import Best
from sweeps.results.scores_file import Captions, Scores
from sweeps.tracking import connection
from sweeps.tracking.publisher import Publisher
from sweeps.tracking.sources import sources, waiting
from tests.sweeps.published import PublishedTrial, result
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
    return PublishedTrial.open(
        sweep, name, f"{name} r8",
        params={"adapter.rank": 8}, tags={"host": "host-0"},
    )  # fmt: skip


def history(sweep, trial, key):
    points = sweep.client.get_metric_history(trial.run_id, key)
    return sorted((point.step, point.value) for point in points)


def read(sweep, trial):
    return sweep.client.get_run(trial.run_id)


def artifacts(sweep, trial, folder):
    return sorted(file.path for file in sweep.client.list_artifacts(trial.run_id, folder))


def test_what_is_reported_while_mlflow_is_away_is_stored_in_order_when_it_is_back(
    sweep, proxy, retry_now
):
    trial = opened(sweep)
    trial.report(report(0), "cider")
    proxy.down()
    for rung in (1, 2, 3):
        trial.report(report(rung), "cider")
    assert trial.waits() == 3
    proxy.up()
    retry_now()
    trial.report(report(4), "cider")
    assert trial.waits() == 0
    assert history(sweep, trial, "val/cider") == [(n, n / 10) for n in range(5)]
    stored = [point.value for point in sweep.client.get_metric_history(trial.run_id, "val/cider")]
    assert stored == [0, 0.1, 0.2, 0.3, 0.4]


def test_a_trial_that_begins_while_mlflow_is_away_has_its_whole_run_later(sweep, proxy, retry_now):
    proxy.down()
    before = int(time.time() * 1000)
    trial = opened(sweep)
    assert trial.waits() == 1
    trial.report(report(0), "cider")
    trial.images(SAMPLES, ["a red square", "red"], 0)
    trial.report(report(1), "cider")
    trial.best({"val/cider": 0.1}, 1)
    trial.predictions(PREDICTIONS, SAMPLES)
    sweep.close_trial("trial-000", "failed", "ValueError: boom")
    after = int(time.time() * 1000)

    proxy.up()
    retry_now()
    trial.publish()
    assert trial.waits() == 0
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


def test_an_answer_that_was_lost_doubles_nothing(sweep, proxy, retry_now):
    proxy.lose = -1  # MLflow does what it is told, and nobody hears of it
    trial = opened(sweep)
    trial.report(report(0), "cider")
    retry_now()
    trial.report(report(1), "cider")
    trial.best({"val/cider": 0.1}, 1)
    retry_now()
    trial.images(SAMPLES[:1], ["red"], 0)
    assert trial.waits() > 0
    proxy.lose = 0
    retry_now()
    trial.publish()
    assert trial.waits() == 0
    (run,) = sweep.trials()
    assert run.info.run_id == trial.run_id
    for key, points in {"val/cider": 2, "time/rung_seconds": 2, "best/cider": 1}.items():
        assert len(history(sweep, trial, key)) == points, key
    assert len(artifacts(sweep, trial, "images")) == 2


@pytest.mark.parametrize("lost", [1, 2, 3, 4])
def test_any_single_lost_answer_doubles_nothing(sweep, proxy, retry_now, lost):
    trial = opened(sweep)
    proxy.lose = lost  # of those that are sent next
    trial.report(report(0), "cider")
    retry_now()
    trial.report(report(1), "cider")
    retry_now()
    trial.publish()
    retry_now()
    trial.publish()
    assert trial.waits() == 0
    assert history(sweep, trial, "val/cider") == [(0, 0.0), (1, 0.1)]


def test_a_retried_trial_stores_no_rung_twice_though_mlflow_was_away(sweep, proxy, retry_now):
    opened(sweep).report(report(0), "cider")
    proxy.down()
    again = opened(sweep)  # its host died: it cannot know what is stored
    again.report(report(0), "cider")
    again.report(report(1), "cider")
    proxy.up()
    retry_now()
    again.publish()
    assert history(sweep, again, "val/cider") == [(0, 0.0), (1, 0.1)]


def test_nobody_waits_long_for_an_mlflow_that_is_away(sweep, proxy):
    trial = opened(sweep)
    proxy.down()
    trial.report(report(0), "cider")
    proxy.up()  # it would answer, but is not asked at every rung
    before = proxy.requests
    trial.report(report(1), "cider")
    assert (trial.waits(), proxy.requests) == (2, before)
    assert sweep.connection.is_away


def test_an_error_of_the_server_is_no_loss(sweep, proxy, retry_now):
    trial = opened(sweep)
    proxy.breaks = b"HTTP"
    trial.report(report(0), "cider")
    assert (trial.waits(), trial.refused()) == (1, [])
    proxy.breaks = None
    retry_now()
    trial.publish()
    assert history(sweep, trial, "val/cider") == [(0, 0.0)]


def test_what_mlflow_refuses_is_put_aside_with_its_reason_and_stops_nothing(sweep, proxy):
    trial = opened(sweep)
    run_id = trial.run_id
    sweep.client.delete_run(run_id)
    trial.report(report(0), "cider")
    assert trial.waits() == 0
    (reason,) = trial.refused()
    assert "must be in the 'active' state" in reason
    before = proxy.requests
    trial.publish()
    assert proxy.requests == before  # nor is it asked for ever
    sweep.client.restore_run(run_id)
    trial.report(report(1), "cider")
    assert history(sweep, trial, "val/cider") == [(1, 0.1)]
    assert sweep.publisher.publish(again=True) == 1
    assert history(sweep, trial, "val/cider") == [(0, 0.0), (1, 0.1)]
    assert trial.refused() == []


def test_an_entry_that_breaks_the_server_does_not_hold_up_the_others(sweep, proxy, retry_now):
    trial = opened(sweep)
    proxy.breaks = b"poison"
    trial.report(report(0, poison=1.0), "cider")
    for rung in (1, 2, 3):
        retry_now()
        trial.report(report(rung), "cider")
    (reason,) = trial.refused()
    assert "503" in reason
    assert history(sweep, trial, "val/cider") == [(n, n / 10) for n in (1, 2, 3)]


def test_an_entry_that_breaks_the_server_is_refused_though_others_succeed_in_between(
    sweep, proxy, retry_now
):
    first, second, third = (opened(sweep, f"trial-00{number}") for number in range(3))
    proxy.breaks = b"poison"
    second.record.log_rung(result(report(1, poison=1.0), "cider"), None)
    third.record.log_rung(result(report(1), "cider"), None)
    for rung in (1, 2, 3):
        retry_now()
        first.report(report(rung), "cider")
    assert "503" in second.refused()[0]
    assert history(sweep, first, "val/cider") == [(n, n / 10) for n in (1, 2, 3)]
    assert history(sweep, third, "val/cider") == [(1, 0.1)]


def test_one_publication_again_gets_past_an_entry_that_breaks_the_server(sweep, proxy, monkeypatch):
    monkeypatch.setattr(connection, "FIRST_PAUSE", 0.01)
    trial = opened(sweep)
    proxy.breaks = b"poison"
    for written in (report(1, poison=1.0), report(2)):
        trial.record.log_rung(result(written, "cider"), None)
    assert sweep.publisher.publish(again=True) == 2
    assert "503" in trial.refused()[0]
    assert history(sweep, trial, "val/cider") == [(2, 0.2)]


def test_what_is_on_record_outlives_a_kill_of_its_host(sweep, proxy, retry_now):
    proxy.down()
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from sweeps.results.folder import SweepFolder\n"
        "from sweeps.host.trial_record import TrialRecord\n"
        "from sweeps.rung_result import RungResult\n"
        f"folder = SweepFolder(root=Path({str(sweep.folder.root)!r}), sweep_id='s-1')\n"
        "trial = TrialRecord(folder=folder, trial='trial-000')\n"
        "trial.opened('t', {}, {})\n"
        "for rung in range(1, 4):\n"
        "    metrics = {'val/cider': rung / 10}\n"
        "    trial.log_rung(RungResult(rung=rung, metrics=metrics, seconds=1.0), None)\n"
        "print('written', flush=True)\n"
        "time.sleep(60)\n"
    )
    host = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert host.stdout.readline() == "written\n"
    os.kill(host.pid, signal.SIGKILL)
    host.wait()
    proxy.up()
    retry_now()
    assert sweep.publisher.publish() == 4
    trial = PublishedTrial(sweep, TrialRecord(folder=sweep.folder, trial="trial-000"))
    assert history(sweep, trial, "val/cider") == [(1, 0.1), (2, 0.2), (3, 0.3)]


def test_two_who_publish_at_once_publish_each_line_once(sweep, proxy, served, retry_now):
    trial = opened(sweep)
    proxy.down()
    for rung in range(6):
        trial.report(report(rung), "cider")
    proxy.up()
    retry_now()
    both = [Publisher(served, sweep.folder, sweep.run_id) for _ in range(2)]
    settled = []
    threads = [
        threading.Thread(target=lambda one=one: settled.append(one.publish())) for one in both
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(settled) == 6
    assert history(sweep, trial, "val/cider") == [(n, n / 10) for n in range(6)]


def test_a_publisher_that_is_killed_at_any_moment_stores_everything_once(
    sweep, proxy, served, retry_now
):
    proxy.down()
    trial = opened(sweep)
    trial.report(report(0), "cider")
    trial.images(SAMPLES, ["a red square", "red"], 0)
    for rung in (1, 2):
        best = Best(value=rung / 10, rung=rung, metrics={"val/cider": rung / 10})
        trial.report(report(rung), "cider", best)
    trial.predictions(PREDICTIONS, SAMPLES)
    sweep.close_trial("trial-000", "completed")
    proxy.up()
    kept = sweep.folder.acknowledged("trial-000").parent
    shutil.copytree(kept, copied := kept.with_name("copied"))
    attempts = 0
    while waiting(sweep.folder).count:
        shutil.rmtree(kept)  # a process that is killed keeps nothing of its last pass
        shutil.copytree(copied, kept)
        proxy.answers, attempts = attempts, attempts + 1  # MLflow does the next one, too
        retry_now()
        Publisher(served, sweep.folder, sweep.run_id).publish()
    proxy.answers = None
    assert attempts > 12
    (run,) = sweep.trials()
    assert (run.info.status, run.data.tags["trial.state"]) == ("FINISHED", "completed")
    for key, points in {"val/cider": 3, "time/rung_seconds": 3, "best/cider": 2}.items():
        assert len(history(sweep, trial, key)) == points, key
    images = [path for path in artifacts(sweep, trial, "images") if path.endswith(".webp")]
    assert len(images) == 2  # of the two files of an image the last one counts
    assert artifacts(sweep, trial, "eval") == ["eval/predictions.json"]


def test_what_another_process_has_published_meanwhile_is_not_stored_twice(sweep, served):
    trial = opened(sweep)
    for rung, publisher in enumerate(
        [sweep.publisher, Publisher(served, sweep.folder, sweep.run_id)] * 2, 1
    ):
        best = Best(value=0.5, rung=1 + rung // 3, metrics={"val/cider": 0.5})
        trial.record.log_rung(result(report(rung), "cider", best), best)
        assert publisher.publish() == 1
    assert history(sweep, trial, "val/cider") == [(n, n / 10) for n in (1, 2, 3, 4)]
    assert len(history(sweep, trial, "best/cider")) == 2


def test_diverged_metrics_reach_a_server_late_as_they_are(sweep, proxy, retry_now):
    trial = opened(sweep)
    proxy.down()
    trial.report(report(0, **{"val/loss": math.nan, "train/loss": math.inf}), "cider")
    proxy.up()
    retry_now()
    trial.publish()
    assert trial.refused() == []
    assert math.isnan(history(sweep, trial, "val/loss")[0][1])
    assert history(sweep, trial, "train/loss")[0][1] > 1e300


def test_the_scores_that_count_are_those_that_were_written_last(sweep, scored):
    trial = opened(sweep).record
    assert trial.kept_scores() is None
    for hits in ([1, 0], [1, 1]):
        scores = Scores(references="abc", best=Captions(beams=1, scored=scored(hits)))
        trial.keep_scores(scores)
        assert trial.kept_scores().best.scored.corpus == scores.best.scored.corpus


def test_a_rung_with_its_symptoms_and_the_best_one_is_one_write(sweep, proxy):
    trial = opened(sweep)
    trial.report(report(0), "cider")
    before = proxy.requests
    best = Best(value=0.1, rung=1, metrics={"val/cider": 0.1})
    trial.report(replace(report(1), symptoms=("it repeats itself",)), "cider", best)
    assert proxy.requests == before + 1
    run = read(sweep, trial)
    assert run.data.tags["trial.symptoms"] == "rung 1: it repeats itself"
    assert (run.data.metrics["best/cider"], run.data.metrics["best/rung"]) == (0.1, 1)


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


def test_the_thread_publishes_what_comes_while_the_sweep_runs(sweep):
    trial = TrialRecord(folder=sweep.folder, trial="trial-000")

    def train(*rungs):
        for rung in rungs:
            trial.log_rung(result(report(rung), "cider"), None)

    trial.opened("trial-000 r8", {}, {})
    with sweep.publisher.running():
        train(1)
        until(lambda: stored(sweep) == ([1], "running"))
        train(2, 3)
        until(lambda: stored(sweep) == ([1, 2, 3], "running"))
        sweep.log(tags={"a": "b"})
        until(lambda: sweep.client.get_run(sweep.run_id).data.tags.get("a") == "b")
    train(4)
    assert waiting(sweep.folder).entries == {"trial-000": 1}


def test_lines_are_published_after_a_second_ctrl_c_interrupts_the_end_of_the_thread(
    sweep, monkeypatch
):
    def interrupted(thread):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), sweep.publisher.running():
        monkeypatch.setattr(threading.Thread, "join", interrupted)
    sweep.log(tags={"a": "b"})
    assert sweep.client.get_run(sweep.run_id).data.tags["a"] == "b"


def test_the_thread_reports_the_same_error_once(sweep, monkeypatch, caplog):
    monkeypatch.setattr("sweeps.tracking.publisher.PAUSE_SECONDS", 0.01)
    tries = []
    monkeypatch.setattr(sweep.publisher, "publish", lambda: tries.append(1) or 1 / 0)
    with sweep.publisher.running():
        until(lambda: len(tries) > 3)
    assert [one.getMessage() for one in caplog.records] == [
        "records cannot be published now: division by zero"
    ]


def test_what_another_process_wrote_to_the_sweep_is_written_anew(sweep, served):
    for best, publisher in [
        ("trial-000", sweep.publisher),
        ("trial-001", Publisher(served, sweep.folder, sweep.run_id)),
        ("trial-000", sweep.publisher),
    ]:
        record.append_event(sweep.folder.events, "logged", logged={"best_trial": best})
        publisher.publish()
    assert sweep.client.get_run(sweep.run_id).data.tags["sweep.best_trial"] == "trial-000"


def test_a_rung_that_was_cut_off_is_not_published(sweep, proxy, retry_now):
    proxy.down()
    trial = opened(sweep)
    for rung in (1, 2):
        trial.report(report(rung), "cider")
    record.append_event(sweep.folder.record("trial-000"), "cut", after=1)
    trial.report(report(2, **{"val/cider": 0.9}), "cider")
    proxy.up()
    retry_now()
    trial.publish()
    assert history(sweep, trial, "val/cider") == [(1, 0.1), (2, 0.9)]


def test_a_trial_that_is_opened_again_while_mlflow_is_away_runs_once_it_is_back(
    sweep, proxy, retry_now
):
    trial = opened(sweep)
    proxy.down()
    sweep.close("interrupted", best_trial=None, best={}, note="")
    trial = opened(sweep)
    record.append_event(sweep.folder.events, "opened", format=record.FORMAT)
    proxy.up()
    retry_now()
    trial.publish()
    assert stored(sweep) == ([], "running")
    assert read(sweep, trial).info.status == "RUNNING"
    assert sweep.is_running


def test_lines_of_a_sweep_whose_run_is_gone_are_refused_without_an_error(sweep, served):
    for _ in range(2):
        TrialRecord(folder=sweep.folder, trial="trial-000").opened("trial-000 r8", {}, {})
    Publisher(served, sweep.folder, "0" * 32).publish()
    assert len(waiting(sweep.folder).refused["trial-000"]) == 2


def test_the_end_of_a_trial_that_began_after_the_look_is_left_to_the_next_one(sweep):
    """Published before its opening, the end would be undone by it."""
    looked_at = sources(sweep.folder)
    trial = PublishedTrial(sweep, TrialRecord(folder=sweep.folder, trial="trial-000"))
    trial.record.opened("trial-000 r8", {}, {})
    values = {"trial": "trial-000", "state": "stopped", "reason": None, "opened": 1}
    record.append_event(sweep.folder.events, "ended", **values)
    assert "ended" not in [line.event for line in looked_at[-1].lines()]
    trial.publish()
    run = read(sweep, trial)
    assert (run.info.status, run.data.tags["trial.state"]) == ("KILLED", "stopped")
