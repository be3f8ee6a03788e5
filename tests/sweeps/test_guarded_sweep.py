"""A whole sweep in which a trial collapses, and what is left to be seen of it."""

import io

import pytest
from optuna.trial import TrialState
from rich.console import Console

from sweeps.board.handle import SweepHandle
from sweeps.cli import board
from sweeps.study.study import open_study, own_trials

pytestmark = pytest.mark.slow

FILE = """
name: guarded
model: {{base: {base}}}
data: {{source: shapes, limit: 32, split: {{train: 0.5, validation: 0.25, test: 0.25}}}}
train: {{epochs: 3, batch_size: 8}}
evaluate: {{metrics: [exact_match], max_new_tokens: 4, final_beams: 1}}
search:
  space: {{train.learning_rate: {{choice: [1e-5, 2e-5, 10.0]}}}}
  sampler: {{name: random, seed: 1}}                       # draws all
  objective: {{metric: loss}}
  trials: 3
schedule: {{name: fifo}}
resources: {{hosts: 1, slots: 1}}
promote: {{model: later}}
"""


@pytest.fixture(scope="module")
def earlier(ended):
    return SweepHandle.find(ended[2], "guarded-1")


@pytest.fixture(scope="module")
def by_rate(earlier):
    """Learning rate -> runs of its trials."""
    runs = {}
    for run in earlier.run.trials():
        runs.setdefault(float(run.data.params["train.learning_rate"]), []).append(run)
    return runs


def test_the_sweep_succeeds_and_shows_the_symptoms_as_they_come(ended):
    code, printed, _ = ended
    assert code == 0
    assert "3/3 trials" in printed
    assert "running: 100 % of 8 images got " in printed
    assert "failed-by-guard: rung 2: 100 % of 8 images got " in printed


def test_without_promote_auto_the_way_to_promote_is_said(ended, earlier):
    assert "to make the winner the champion of later: sweeps promote guarded-1" in ended[1]
    assert earlier.run.client.search_registered_models() == []


def test_the_collapsed_trial_failed_by_the_guard_at_its_second_rung(earlier, by_rate):
    assert set(by_rate) == {1e-5, 2e-5, 10.0}
    for run in by_rate[10.0]:
        tags = run.data.tags
        assert (run.info.status, tags["trial.state"]) == ("FAILED", "failed-by-guard")
        assert tags["trial.guard"] == tags["trial.symptoms"]
        history = earlier.run.client.get_metric_history(run.info.run_id, "val/loss")
        assert [point.step for point in history] == [0, 1, 2]
        assert not any(name.startswith("best/") for name in run.data.metrics)
    for run in (*by_rate[1e-5], *by_rate[2e-5]):
        assert (run.info.status, run.data.tags["trial.state"]) == ("FINISHED", "completed")
        assert "trial.symptoms" not in run.data.tags


def test_a_lower_loss_does_not_make_it_the_winner(earlier, by_rate):
    collapsed = min(run.data.metrics["val/loss"] for run in by_rate[10.0])
    assert collapsed < earlier.board.winner.best["loss"]
    assert earlier.board.winner.state == "completed"


def test_optuna_was_told_of_a_bad_outcome(earlier):
    for trial in own_trials(open_study(earlier.sweep, earlier.folder)).values():
        if trial.params["train.learning_rate"] == 10.0:
            assert trial.state == TrialState.PRUNED
            assert set(trial.intermediate_values) == {1, 2}
            assert trial.constraints == {"guard": 1.0}
            assert trial.user_attrs["guard"].startswith("rung 2: ")
        else:
            assert (trial.state, trial.constraints) == (TrialState.COMPLETE, {})


def test_compare_shows_the_state_and_the_reason(ended):
    written = io.StringIO()
    board.print_sweep("guarded-1", ended[2], Console(file=written, width=120))
    assert "failed-by-guard" in written.getvalue()
    assert ": rung 2: 100 % of 8 images got " in written.getvalue()
