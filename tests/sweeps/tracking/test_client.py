"""What a sweep leaves in MLflow, read back from a real SQLite store."""

import json
import math
import pickle
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
from PIL import Image

from sweeps.tracking.client import Tracking
from sweeps.tracking.sweep_run import SweepRun, git_commit
from sweeps.tracking.trial_run import PREDICTIONS
from tests.sweeps.published import PublishedTrial
from workers.data.sample import DataSet, Sample
from workers.evaluation.scoring import digest_of_ids
from workers.recipe import Data
from workers.report import Prediction, Report

POINT = {"adapter.rank": 8, "train.learning_rate": 1e-3, "quantization": "nf4"}


def sample(number):
    return Sample(
        id=f"{number:03d}.png",
        open=lambda: Image.new("RGB", (30, 20), "red"),
        captions=("a red square", "something red"),
    )


SAMPLES = tuple(sample(number) for number in range(10))


def report(rung, cider=0.5, **more):
    metrics = {"train/loss": 2.0, "val/bleu4": 0.1, "val/cider": cider, "val/loss": 1.5, **more}
    return Report(rung=rung, metrics=metrics, finished=False, seconds=1.25)


@pytest.fixture(scope="module")
def tracking(tmp_path_factory):
    root = tmp_path_factory.mktemp("a folder") / "sweep-results"
    return Tracking(uri=None, experiment="shapes", root=root)


@pytest.fixture
def sweep(tracking, request):
    """A sweep of its own for each test."""
    return SweepRun.open(tracking, request.node.name, "name: shapes\n", {"sweep.file": "s.yaml"})


@pytest.fixture
def trial(sweep):
    return open_trial(sweep)


def open_trial(sweep, number=0, **tags):
    name = f"trial-{number:03d}"
    params = {**POINT, "train.seed": 0, "model.base": "tiny:shapes"}
    return PublishedTrial.open(
        sweep, name, f"{name} r8 nf4",
        params=params, logarithmic=["train.learning_rate"], tags={"worker": "host-0", **tags},
    )  # fmt: skip


def read(run):
    return run.client.get_run(run.run_id)


def history(run, key):
    return [(point.step, point.value) for point in run.client.get_metric_history(run.run_id, key)]


def artifact(run, path):
    return run.client.download_artifacts(run.run_id, path)


def test_everything_embedded_lies_below_the_root(tracking, sweep):
    run = read(sweep)
    assert (tracking.root / "tracking.db").is_file()
    folder = tracking.root / "artifacts" / sweep.run_id / "artifacts"
    assert (folder / "sweep.yaml").read_text() == "name: shapes\n"
    assert run.info.artifact_uri.startswith("file:///")


def test_new_stores_are_copies_of_an_empty_one(tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "cache"))
    for name in ("one", "two"):
        tracking = Tracking(uri=None, experiment=name, root=tmp_path / name)
        tracking.experiment_id()
        found = tracking.client().search_experiments()
        assert {each.name for each in found} == {name, "Default"}
    assert [file.suffix for file in (tmp_path / "cache" / "mlflow").iterdir()] == [".db"]
    assert list((tmp_path / "two").iterdir()) == [tmp_path / "two" / "tracking.db"]


def test_without_a_cache_mlflow_makes_the_store(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("no folder")
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "cache"))
    tracking = Tracking(uri=None, experiment="x", root=tmp_path / "results")
    assert tracking.experiment_id() == "1"


def test_a_parent_run_says_what_made_it(sweep):
    run = read(sweep)
    assert run.info.run_name == sweep.sweep_id
    assert run.info.status == "RUNNING"
    tags = run.data.tags
    assert tags["sweep.id"] == sweep.sweep_id
    assert tags["sweep.state"] == "running"
    assert tags["sweep.file"] == "s.yaml"
    assert tags["version.mlflow"] == version("mlflow")
    assert {"version.torch", "version.peft", "version.pycocoevalcap"} <= tags.keys()


def test_the_commit_is_that_of_the_folder(tmp_path):
    assert git_commit(tmp_path) is None
    author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    commit = ["git", *author, "commit", "-q", "--allow-empty", "-m", "first"]
    subprocess.run(commit, cwd=tmp_path, check=True)
    assert len(git_commit(tmp_path)) == 40


def test_a_resumed_sweep_continues_in_its_run(tracking, sweep):
    open_trial(sweep)
    sweep.close("interrupted", best_trial=None, best={}, note="")
    assert read(sweep).info.status == "KILLED"

    again = SweepRun.open(tracking, sweep.sweep_id, "name: shapes\n", {})
    assert again.run_id == sweep.run_id
    assert read(again).info.status == "RUNNING"
    assert read(again).data.tags["sweep.state"] == "running"


def test_an_earlier_sweep_is_found_by_its_id(tracking, sweep):
    open_trial(sweep)
    found = SweepRun.find(tracking, sweep.sweep_id)
    assert found.run_id == sweep.run_id
    assert [run.data.tags["trial.id"] for run in found.trials()] == ["trial-000"]
    with pytest.raises(ValueError, match=r"no sweep 'other' in experiment 'shapes'"):
        SweepRun.find(tracking, "other")


def test_a_trial_carries_what_varies_and_where_it_ran(sweep, trial):
    run = read(trial)
    assert run.info.run_name == "trial-000 r8 nf4"
    assert run.data.params == {
        "adapter.rank": "8",
        "train.learning_rate": "0.001",
        "train.learning_rate_log10": "-3.0000",
        "quantization": "nf4",
        "train.seed": "0",
        "model.base": "tiny:shapes",
    }
    tags = run.data.tags
    assert tags["mlflow.parentRunId"] == sweep.run_id
    assert tags["sweep.id"] == sweep.sweep_id
    assert (tags["trial.id"], tags["trial.state"]) == ("trial-000", "running")
    assert tags["worker"] == "host-0"


def test_a_retried_trial_continues_in_its_run(sweep, trial):
    sweep.close_trial("trial-000", "failed", "ValueError: boom")
    again = open_trial(sweep, host="other")

    assert again.run_id == trial.run_id
    run = read(again)
    assert run.info.status == "RUNNING"
    assert run.data.tags["trial.state"] == "running"
    assert run.data.tags["host"] == "other"
    assert "trial.error" not in run.data.tags


def test_trials_of_two_sweeps_do_not_mix(tracking, sweep):
    other = SweepRun.open(tracking, f"{sweep.sweep_id}-other", "name: other\n", {})
    assert open_trial(sweep).run_id != open_trial(other).run_id
    other.close_running()
    assert [run.info.status for run in sweep.trials()] == ["RUNNING"]


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("completed", "FINISHED"),
        ("stopped", "KILLED"),
        ("failed", "FAILED"),
        ("failed-by-guard", "FAILED"),
    ],
)
def test_the_ways_a_trial_ends(sweep, trial, state, status):
    sweep.close_trial("trial-000", state)
    run = read(trial)
    assert run.info.status == status
    assert run.data.tags["trial.state"] == state
    assert run.info.end_time >= run.info.start_time


def test_an_ended_run_stays_as_it_is(sweep, trial):
    sweep.close_trial("trial-000", "stopped")
    before = read(trial)
    sweep.close_trial("trial-000", "failed", "too late")
    sweep.close("completed", best_trial=None, best={}, note="")
    after = read(trial)
    assert after.info.end_time == before.info.end_time
    assert (after.info.status, after.data.tags) == ("KILLED", before.data.tags)


def test_a_long_error_keeps_its_cause_in_the_tag_and_all_of_it_in_a_file(sweep, trial):
    error = "Traceback (most recent call last):\n" + "  a frame\n" * 2000 + "ValueError: boom"
    sweep.close_trial("trial-000", "failed", error)
    assert read(trial).data.tags["trial.error"].endswith("ValueError: boom")
    with open(artifact(trial, "error.txt")) as file:
        assert file.read() == error


def test_an_error_is_kept_without_secrets_even_where_its_tag_is_cut(sweep, trial, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "not for others")
    end = "not for others: " + "x" * 4990  # the tag begins within the value
    sweep.close_trial("trial-000", "failed", f"http://ann:secret@host {end}")
    assert read(trial).data.tags["trial.error"] == f"://***@host ***: {'x' * 4990}"[-5000:]
    with open(artifact(trial, "error.txt")) as file:
        assert file.read() == f"http://***@host ***: {'x' * 4990}"


def test_what_the_guard_says_is_a_tag_and_no_error(sweep, trial):
    sweep.close_trial("trial-000", "failed-by-guard", "rung 2: 'a a'")
    tags = read(trial).data.tags
    assert tags["trial.guard"] == "rung 2: 'a a'"
    assert "trial.error" not in tags
    assert trial.client.list_artifacts(trial.run_id) == []
    assert "trial.guard" not in read(open_trial(sweep)).data.tags  # it runs once more


def test_symptoms_of_the_last_sick_rung_are_a_tag(trial):
    for rung, symptoms in enumerate([(), ("one",), ("one", "two"), ()]):
        trial.report(replace(report(rung), symptoms=symptoms), "cider")
    assert read(trial).data.tags["trial.symptoms"] == "rung 2: one; two"
    assert [step for step, _ in history(trial, "val/cider")] == [0, 1, 2, 3]


def test_a_trial_that_never_opened_a_run_still_shows_its_error(sweep):
    sweep.close_trial("trial-007", "failed", "OSError: no host")
    (run,) = sweep.trials()
    assert run.info.status == "FAILED"
    assert (run.data.tags["trial.id"], run.data.tags["trial.error"]) == (
        "trial-007", "OSError: no host",
    )  # fmt: skip


def test_closing_ends_what_nobody_ended_and_names_the_winner(sweep):
    winner, left = open_trial(sweep, 1), open_trial(sweep, 2)
    sweep.close_trial("trial-001", "completed")
    best = {"val/cider": 1.2, "val/bleu4": 0.4}
    sweep.close("completed", best_trial="trial-001", best=best, note="# Leaderboard")

    assert read(left).info.status == "KILLED"
    assert read(left).data.tags["trial.state"] == "interrupted"
    run = read(sweep)
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"best/cider": 1.2, "best/bleu4": 0.4}
    tags = run.data.tags
    assert (tags["sweep.state"], tags["mlflow.note.content"]) == ("completed", "# Leaderboard")
    assert (tags["sweep.best_trial"], tags["sweep.best_run"]) == ("trial-001", winner.run_id)


def test_rungs_are_steps_and_the_objective_is_the_first_metric(trial):
    trial.report(report(0, cider=0.01), "cider")
    trial.report(report(1, cider=0.7), "cider")
    assert history(trial, "val/cider") == [(0, 0.01), (1, 0.7)]
    assert history(trial, "time/rung_seconds") == [(0, 1.25), (1, 1.25)]
    assert next(iter(read(trial).data.metrics)) == "val/cider"


def test_a_rung_reported_twice_is_stored_once(sweep, trial):
    trial.report(report(0), "cider")
    trial.report(report(0, cider=9.9), "cider")
    open_trial(sweep).report(report(0, cider=9.9), "cider")
    assert history(trial, "val/cider") == [(0, 0.5)]


def test_a_diverged_trial_is_stored_as_it_is(trial):
    trial.report(report(0, cider=math.nan), "cider")
    ((step, value),) = history(trial, "val/cider")
    assert step == 0
    assert math.isnan(value)


def test_the_best_rung_so_far_stands_under_best(trial):
    trial.best({"val/cider": 0.5, "train/loss": 3.0}, 1)
    trial.best({"val/cider": 0.9, "train/loss": 2.0}, 3)
    trial.best({"val/cider": 0.9, "train/loss": 2.0}, 3)
    assert read(trial).data.metrics == {"best/cider": 0.9, "best/rung": 3.0}
    assert history(trial, "best/cider") == [(0, 0.5), (0, 0.9)]


def test_example_images_show_their_caption_once_per_step(trial):
    captions = ["a red square", ""]
    trial.images(SAMPLES[:2], captions, 0)
    trial.images(SAMPLES[:2], captions, 0)
    trial.images(SAMPLES[:2], captions, 3)
    paths = [file.path for file in trial.client.list_artifacts(trial.run_id, "images")]
    full = sorted(path for path in paths if path.endswith(".png"))
    shown = [path.removeprefix("images/").split("+timestamp")[0] for path in full]
    assert shown == [
        "examples~0+step+0", "examples~0+step+3", "examples~1+step+0", "examples~1+step+3",
    ]  # fmt: skip

    with Image.open(artifact(trial, full[0])) as image:
        text = image.crop((0, 171, 256, image.height)).convert("L")
    assert image.size == (256, 203)
    assert text.getextrema() == (0, 255)


def test_predictions_are_one_table_that_the_last_call_decides(trial):
    def predictions(caption):
        return [
            Prediction(image_id=one.id, caption=caption, references=one.captions) for one in SAMPLES
        ]

    trial.predictions(predictions("early"), SAMPLES)
    trial.predictions(predictions("late"), SAMPLES)

    with open(artifact(trial, PREDICTIONS)) as file:
        table = json.load(file)
    assert table["columns"] == ["image_id", "image", "caption", "references"]
    names, images, captions, references = zip(*table["data"], strict=True)
    assert names == tuple(one.id for one in SAMPLES)
    assert set(captions) == {"late"}
    assert set(references) == {"a red square | something red"}
    with Image.open(artifact(trial, images[0]["compressed_filepath"])) as image:
        assert image.size == (128, 85)
    assert images[8:] == (None, None)
    shown = json.loads(read(trial).data.tags["mlflow.loggedArtifacts"])
    assert shown == [{"path": PREDICTIONS, "type": "table"}]


def test_the_images_are_inputs_with_their_digests(trial):
    data_set = DataSet(
        splits={"train": SAMPLES[:7], "validation": SAMPLES[7:], "test": ()}, digest="0123abcd" * 8
    )
    data = Data(source="folder", path="photos/holiday/")
    trial.inputs(data, data_set, SAMPLES[8:])
    trial.inputs(data, data_set, SAMPLES[8:])

    found = {entry.tags[0].value: entry for entry in read(trial).inputs.dataset_inputs}
    assert set(found) == {"training", "validation"}
    entry = found["training"]
    assert (entry.dataset.name, entry.dataset.source_type) == ("holiday", "folder")
    assert entry.dataset.digest == "0123abcd0123"
    profile = json.loads(entry.dataset.profile)
    assert profile["digest"] == data_set.digest
    assert (profile["train_images"], profile["validation_images"]) == (7, 3)
    assert [(tag.key, tag.value) for tag in entry.tags] == [("mlflow.data.context", "training")]

    tags, scored = read(trial).data.tags, found["validation"].dataset
    assert tags["eval.images"] == "2"
    assert tags["eval.digest"] == digest_of_ids(["008.png", "009.png"])
    assert (scored.name, scored.digest) == ("holiday", tags["eval.digest"][:12])
    assert json.loads(scored.profile) == {"images": 2, "digest": tags["eval.digest"]}


def test_another_process_writes_into_the_same_run(sweep, trial):
    code = (
        "import pickle, sys; from sweeps.host.trial_record import TrialRecord\n"
        "trial = TrialRecord(folder=pickle.load(sys.stdin.buffer), trial='trial-000')\n"
        "trial.opened('x', {}, {'host': 'far'})\n"
        "trial.log(best={'best/cider': 0.25, 'best/rung': 2})\n"
        "assert 'mlflow' not in sys.modules\n"
    )
    told = pickle.dumps(sweep.folder)
    done = subprocess.run([sys.executable, "-c", code], input=told, capture_output=True, check=True)
    assert done.stdout == b""
    trial.publish()
    run = read(trial)
    assert run.data.metrics == {"best/cider": 0.25, "best/rung": 2.0}
    assert run.data.tags["host"] == "far"


def test_a_relative_root_is_refused():
    tracking = Tracking(uri=None, experiment="shapes", root=Path("sweep-results"))
    with pytest.raises(ValueError, match="must be an absolute folder, got sweep-results"):
        tracking.client()


def test_a_deleted_experiment_is_named_with_the_fix(tracking):
    deleted = Tracking(uri=None, experiment="deleted", root=tracking.root)
    client, number = deleted.client(), deleted.experiment_id()
    client.delete_experiment(number)
    with pytest.raises(ValueError, match=rf"'deleted' was deleted .* restore -x {number}`"):
        SweepRun.open(deleted, "s-1", "", {})
