"""A sweep of the version whose hosts reported to MLflow themselves: what it left is stored once."""

import base64
import io
import json

import pytest
from PIL import Image

from sweeps.host.trial_record import TrialRecord
from sweeps.results import record
from sweeps.results.scores_file import Captions, Scores, dump
from sweeps.rung_result import RungResult
from sweeps.tracking.sources import waiting
from tests.sweeps.published import PublishedTrial


def png():
    file = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def line(kind, time, **values):
    return json.dumps({"kind": kind, "values": values, "time": time}) + "\n"


def rung(number, time):
    metrics = {"val/cider": number / 10, "time/rung_seconds": 1.0}
    best = {"best/cider": number / 10, "best/rung": number}
    return line("batch", time, metrics=metrics, tags={}, rung=number, best=best)


def opening(name, time, tags=(), params=(), again=True):
    return line("open", time, name=name, tags=dict(tags), params=dict(params), again=again)


def end(time, status="FINISHED", state="completed", once=True):
    return line("end", time, status=status, tags={"trial.state": state}, error=None, once=once)


FILE = base64.b64encode(b"[]").decode()
TRIAL = [
    opening("trial-000 r8", 10, {"trial.id": "trial-000", "host": "host-0"}, {"adapter.rank": "8"}),
    rung(1, 20),
    line("image", 25, key="examples/0", step=0, content=png()),
    rung(2, 30),
    line("artifact", 40, path="eval/predictions.json", content=FILE),
    line("untag", 45, key="trial.violates"),
]


@pytest.fixture
def box(sweep):
    """Return a function that leaves entries where a run's were kept."""

    def leave(name, lines, spool="spool", file="entries.jsonl"):
        folder = sweep.folder.path / spool / name
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / file).open("a") as entries:
            entries.write("".join(lines))
        return folder

    return leave


def history(sweep, run, key):
    points = sweep.client.get_metric_history(run.info.run_id, key)
    return sorted((point.step, point.value) for point in points)


def test_what_waits_in_an_old_spool_is_stored_once_and_then_removed(sweep, box, proxy, retry_now):
    folder = box("trial-000", [*TRIAL, end(50), '{"kind": "batch", "val'])
    sweep_box = box("sweep", [line("batch", 60, metrics={}, tags={"a": "b"}, rung=None, best={})])
    assert waiting(sweep.folder).entries == {"sweep": 1, "trial-000": 7}
    proxy.down()
    assert sweep.publisher.publish() == 0
    proxy.up()
    retry_now()
    assert sweep.publisher.publish() == 8
    assert not waiting(sweep.folder).count
    assert not [*folder.glob("*.json*"), *sweep_box.glob("*.json*")]
    assert not list(sweep.folder.path.glob("acknowledged/spool.*"))
    (run,) = sweep.trials()
    assert (run.info.run_name, run.info.status) == ("trial-000 r8", "FINISHED")
    assert (run.info.start_time, run.info.end_time) == (10, 50)
    assert run.data.params == {"adapter.rank": "8"}
    assert history(sweep, run, "val/cider") == [(1, 0.1), (2, 0.2)]
    assert len(history(sweep, run, "best/cider")) == 2
    files = [file.path for file in sweep.client.list_artifacts(run.info.run_id, "eval")]
    assert files == ["eval/predictions.json"]
    assert len(sweep.client.list_artifacts(run.info.run_id, "images")) == 2
    assert sweep.client.get_run(sweep.run_id).data.tags["a"] == "b"


def test_what_was_sent_already_is_not_sent_again(sweep, box):
    folder = box("trial-000", [*TRIAL[:2], rung(2, 30)])
    (folder / "sent.json").write_text(json.dumps({"bytes": sum(map(len, TRIAL[:2]))}))
    box("trial-001", [opening("trial-001", 10, {"trial.id": "trial-001"})], "spools/host-1")
    assert waiting(sweep.folder).entries == {"trial-000": 1, "trial-001": 1}
    sweep.publisher.publish()
    assert [run.info.run_name for run in sweep.trials()] == ["trial-001"]
    (reason,) = waiting(sweep.folder).refused["trial-000"]  # for its run was deleted, say
    assert "no run in MLflow" in reason


def test_what_was_refused_is_tried_again(sweep, box):
    refused = json.dumps({"reason": "gone", "entry": json.loads(rung(3, 30))}) + "\n"
    folder = box("trial-000", [refused], file="refused.jsonl")
    PublishedTrial.open(sweep, "trial-000", "trial-000 r8")
    sweep.publisher.publish(again=True)
    assert waiting(sweep.folder).refused == {}
    (run,) = sweep.trials()
    assert history(sweep, run, "val/cider") == [(3, 0.3)]
    assert not (folder / "refused.jsonl").exists()


def test_the_run_of_a_segment_lies_below_its_trials(sweep, box):
    box("trial-000", [TRIAL[0], line("name", 11, name="trial-000 r4")])
    box("trial-000.2", [opening("segment", 12, {}, {"adapter.rank": "4"}), rung(3, 30)])
    sweep.publisher.publish()
    (run,) = sweep.trials()
    assert run.info.run_name == "trial-000 r4"
    (segment,) = sweep.client.search_runs(
        [sweep.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
    )
    assert segment.data.tags["segment.rung"] == "2"
    assert history(sweep, segment, "val/cider") == [(3, 0.3)]


def test_a_trial_that_goes_on_is_not_ended_by_what_waited(sweep, box):
    """It was interrupted while MLflow was away, and the sweep was resumed since."""
    metrics = {"val/cider": 0.1}
    rung = RungResult(rung=1, objective=0.1, seconds=1.0, time=0.02, metrics=metrics)
    record.append(sweep.folder, "trial-000", rung)
    box("trial-000", [TRIAL[0], end(50, "KILLED", "interrupted")])
    box("sweep", [line("end", 60, status="KILLED", tags={}, error=None, once=False)])
    assert waiting(sweep.folder).entries == {"sweep": 1, "trial-000": 2}
    PublishedTrial.open(sweep, "trial-000", "trial-000 r8")
    (run,) = sweep.trials()
    assert (run.info.status, run.data.tags["trial.state"]) == ("RUNNING", "running")
    assert history(sweep, run, "val/cider") == [(1, 0.1)]  # which had not reached the spool
    assert sweep.is_running


def test_the_record_of_a_sweep_that_ended_is_not_published_again(sweep, proxy):
    old = RungResult(rung=1, finished=True, seconds=1.0, time=0.02, metrics={})
    record.append(sweep.folder, "trial-000", old)
    before = proxy.requests
    assert not waiting(sweep.folder).count
    assert sweep.publisher.publish() == 0
    assert proxy.requests == before


def test_scores_that_only_mlflow_has_are_brought_down_for_the_trials_that_go_on(sweep, box, scored):
    scores = Scores(references="abc", best=Captions(beams=1, scored=scored([1, 0])))
    content = base64.b64encode(dump(scores).encode()).decode()
    artifact = line("artifact", 20, path="eval/scores.json", content=content)
    for trial in ("trial-000", "trial-001"):
        box(trial, [opening(trial, 10, {"trial.id": trial}), artifact])
        record.append(sweep.folder, trial, RungResult(rung=1, time=0.02, metrics={}))
    sweep.publisher.publish()
    sweep.fetch_scores(over={"trial-001"})
    records = [TrialRecord(folder=sweep.folder, trial=f"trial-00{n}") for n in range(2)]
    assert records[0].kept_scores().best.scored.corpus == scores.best.scored.corpus
    assert records[1].kept_scores() is None
