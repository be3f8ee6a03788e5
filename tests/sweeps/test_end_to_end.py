"""A whole sweep on Ray on this machine, read back from everything that it left."""

import base64
import contextlib
import io
import json
import math
import signal
import subprocess
import sys
import textwrap

import pytest
import ray
from optuna.trial import TrialState
from rich.console import Console

from sweeps.board.leaderboard import markdown
from sweeps.cli import outcome
from sweeps.driver import signals
from sweeps.results import scores_file
from sweeps.spec.load import load, parse
from sweeps.study.study import open_study, own_trials
from workers import data

FILE = """
name: tiny
model: {{base: {base}}}
data: {{source: shapes, limit: 24, split: {{train: 0.5, validation: 0.25, test: 0.25}}}}
train: {{epochs: 2, batch_size: 8, max_grad_norm: null}}
adapter: {{dropout: 0.0}}
evaluate: {{metrics: [bleu, cider, exact_match], max_new_tokens: 6, final_beams: 2}}
search:
  space:
    adapter.rank: {{choice: [2, 4]}}
    train.learning_rate: {{choice: [1e-4, 1e-2, 1e30]}}     # the last one cannot work
    quantization: {{choice: [none, nf4]}}
  sampler: {{name: random, seed: {seed}}}
  objective: {{metric: loss}}
  trials: 4
schedule: {{name: asha, grace: 1, reduction: 2}}
resources: {{hosts: 1, slots: 1}}
promote: {{model: tiny-captioner, auto: true}}
"""
SEED = 20  # draws trials that finish, are stopped, and whose loss is no number


@pytest.fixture(scope="module")
def ended(tmp_path_factory, untrained_base, traps):
    """The sweep, run as the command line runs it: (exit code, what it printed, results)."""
    results = tmp_path_factory.mktemp("results")
    sweep = parse(FILE.format(base=untrained_base, seed=SEED))
    written = io.StringIO()
    with contextlib.chdir(traps):
        code = outcome.run_sweep(sweep, results, None, Console(file=written, width=200))
    yield code, written.getvalue(), results
    ray.shutdown()


@pytest.fixture(scope="module")
def sweep(ended):
    return load(ended[2] / "tiny-1" / "sweep.yaml")


@pytest.fixture(scope="module")
def run(ended, sweep):
    from sweeps.tracking.client import Tracking
    from sweeps.tracking.sweep_run import SweepRun

    return SweepRun.find(Tracking(uri=None, experiment="tiny", root=ended[2]), "tiny-1")


@pytest.fixture(scope="module")
def trials(run):
    """The trials' runs by state."""
    by_state = {}
    for trial in run.trials():
        by_state.setdefault(trial.data.tags["trial.state"], []).append(trial)
    return by_state


def test_the_command_succeeds_and_says_where_to_look(ended):
    code, printed, _ = ended
    assert code == 0
    assert "4/4 trials" in printed
    assert "viewStateShareKey=" in printed
    assert "zero-shot" in printed


def test_nothing_is_imported_from_the_folder_of_the_command(ended, traps):
    assert not (traps / "ran").exists()


def test_the_winner_passes_the_gate_and_is_the_champion(ended, run):
    """The objective is the loss, so the gate judges by CIDEr: a few words more are right."""
    printed = ended[1]
    assert "6 of 6 captions equal" in printed
    assert "passed: cider 0." in printed
    assert "tiny-captioner version 1, alias champion" in printed
    version = run.client.get_model_version_by_alias("tiny-captioner", "champion")
    assert version.tags["gate.verdict"] == "passed"


def test_every_trial_has_a_run_with_the_right_end(trials):
    assert {state: {run.info.status for run in runs} for state, runs in trials.items()} == {
        "completed": {"FINISHED"},
        "stopped": {"KILLED"},
        "failed-by-guard": {"FAILED"},
    }
    assert sum(map(len, trials.values())) == 4


def test_runs_carry_the_point_and_metrics_from_rung_0(run, trials, sweep):
    for trial in trials["completed"]:
        params, metrics = trial.data.params, trial.data.metrics
        assert set(sweep.search.space) | {"train.seed", "model.base"} <= set(params)
        history = run.client.get_metric_history(trial.info.run_id, "val/loss")
        assert [point.step for point in history] == [0, 1, 2]
        assert metrics["best/loss"] == min(point.value for point in history[1:])
        assert {"val/bleu_4", "val/cider", "val/exact_match", "train/loss"} <= set(metrics)
        assert {"final/bleu_4", "final/cider", "final/exact_match"} <= set(metrics)
        assert trial.inputs.dataset_inputs[0].dataset.source_type == "shapes"


def test_artifacts_show_what_the_trial_wrote(run, trials, sweep):
    validation = data.load(sweep.data).splits["validation"]
    for trial in trials["completed"] + trials["stopped"]:
        run_id = trial.info.run_id
        path = run.client.download_artifacts(run_id, "eval/predictions.json")
        with open(path) as file:
            table = json.load(file)
        assert [row[0] for row in table["data"]] == [sample.id for sample in validation]
        scores = scores_file.read(run.client, run_id)
        assert scores.best.scored.ids == tuple(sample.id for sample in validation)
        assert scores.best.scored.corpus["cider"] == trial.data.metrics["best/cider"]
        assert (scores.final is not None) == ("final/cider" in trial.data.metrics)
        images = [artifact.path for artifact in run.client.list_artifacts(run_id, "images")]
        assert any("+step+0+" in name.replace("~", "+").replace("%", "+") for name in images)


def test_a_trial_that_the_guard_stopped_says_why(ended, run, trials):
    for trial in trials["failed-by-guard"]:
        reason = trial.data.tags["trial.guard"]
        assert reason.startswith("rung 1: train/loss is ")
        assert "train.learning_rate" in reason
        note = run.client.get_run(run.run_id).data.tags["mlflow.note.content"]
        assert reason in note
        assert f"failed-by-guard: {reason}" in ended[1]


def test_every_run_names_the_images_that_score_it(run, trials):
    parent = run.client.get_run(run.run_id).data.tags
    assert parent["eval.images"] == "6"
    for trial in (trial for runs in trials.values() for trial in runs):
        assert trial.data.tags["eval.digest"] == parent["eval.digest"]


def test_the_parent_run_sums_up(run, trials):
    parent = run.client.get_run(run.run_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["sweep.state"] == "completed"
    best = min(
        (trial for runs in trials.values() for trial in runs if "best/loss" in trial.data.metrics),
        key=lambda trial: trial.data.metrics["best/loss"],
    )
    assert parent.data.tags["sweep.best_run"] == best.info.run_id
    assert parent.data.metrics["best/loss"] == best.data.metrics["best/loss"]
    assert best.info.run_name in parent.data.tags["mlflow.note.content"]


def test_the_leaderboard_is_sorted_and_the_unscored_come_last(ended, run):
    from sweeps.board.handle import SweepHandle
    from sweeps.board.standings import add_runs

    board = add_runs(run, SweepHandle.find(ended[2], "tiny-1").board)
    losses = [trial.best.get("loss", math.inf) for trial in board.trials]
    assert losses == sorted(losses)
    assert board.trials[-1].state == "failed-by-guard"
    assert board.zero_shot > board.winner.best["loss"]
    assert markdown(board).count("\n|") == 2 + len(board.trials)


def test_the_saved_view_is_there(run):
    tags = run.client.get_experiment(run.experiment_id).tags
    view = json.loads(tags[f"mlflow.sharedViewState.{run.run_id}"])
    assert view["name"] == "Leaderboard tiny-1"


def test_optuna_was_told_the_truth(ended, sweep, trials):
    from sweeps.results.folder import SweepFolder

    study = open_study(sweep, SweepFolder(root=ended[2], sweep_id="tiny-1"))
    names = {"completed": "COMPLETE", "stopped": "PRUNED", "failed-by-guard": "PRUNED"}
    expected = {
        trial.data.tags["trial.id"]: TrialState[names[state]]
        for state, runs in trials.items()
        for trial in runs
    }
    assert {name: trial.state for name, trial in own_trials(study).items()} == expected


def test_only_what_is_needed_stays_on_disk(ended):
    folder = ended[2] / "tiny-1"
    assert not list(folder.glob("trials/*/rung-*"))
    assert not list(folder.glob("trials/*/best.partial"))
    for best in folder.glob("trials/*/best"):
        assert {"adapter_config.json", "adapter_model.safetensors"} <= {
            file.name for file in best.iterdir()
        }


def test_the_champion_captions_an_image_in_a_fresh_process(ended, sweep, tmp_path):
    sample = data.load(sweep.data).splits["test"][0]
    buffer = io.BytesIO()
    sample.open().save(buffer, "PNG")
    program = f"""
        import mlflow
        mlflow.set_tracking_uri("sqlite:///{ended[2]}/tracking.db")
        model = mlflow.pyfunc.load_model("models:/tiny-captioner@champion")
        image = {base64.b64encode(buffer.getvalue()).decode()!r}
        print("caption:", model.predict([{{"image": image, "max_new_tokens": 6}}]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "caption: ['" in done.stdout


def test_ctrl_c_is_afterwards_what_it_was_before():
    before = signal.getsignal(signal.SIGINT)
    with signals.signals_stop_tune():
        signal.signal(signal.SIGINT, lambda *_: None)  # as Tune does, for good
    assert signal.getsignal(signal.SIGINT) is before
