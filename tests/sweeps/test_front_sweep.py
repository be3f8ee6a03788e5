"""A whole sweep with two objectives and a limit, read back from everything that it left."""

import io

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from rich.console import Console

from sweeps.board.handle import SweepHandle
from sweeps.cli import board, outcome
from sweeps.doctor import checkup
from sweeps.promotion.adapters import challenger_of, find_trial
from sweeps.promotion.gate import Policy
from sweeps.promotion.promote import promote
from sweeps.results import record
from sweeps.results.folder import SweepFolder

pytestmark = pytest.mark.slow  # a whole sweep on Ray

FILE = """
name: front
model: {{base: {base}}}
data: {{source: shapes, limit: 24, split: {{train: 0.5, validation: 0.25, test: 0.25}}}}
train: {{epochs: 2, batch_size: 8, learning_rate: 1e-2}}
evaluate: {{metrics: [exact_match], max_new_tokens: 4, final_beams: 1}}
guard: {{stop: false}}                    # the base is untrained and has few words
search:
  space: {{adapter.rank: {{choice: [1, 2, 4, 64]}}}}
  sampler: {{name: grid}}
  objective: [{{metric: loss}}, {{metric: adapter_mb}}]
  constraints: {{adapter_mb: "< 0.1"}}
  trials: 4
schedule: {{name: asha, grace: 1, reduction: 2}}
resources: {{hosts: 1, slots: 1}}
promote: {{model: small-captioner, auto: true, margin: 0.9}}
"""


@pytest.fixture(scope="module")
def earlier(ended):
    return SweepHandle.find(ended[2], "front-1")


@pytest.fixture(scope="module")
def by_rank(earlier):
    return {str(trial.point["adapter.rank"]): trial for trial in earlier.board.trials}


def test_the_front_is_printed_noted_tagged_and_drawn(ended, earlier):
    code, printed, _ = ended
    front = {trial.name for trial in earlier.board.front}
    assert code == 0
    assert f"{len(front)} on the front" in printed
    assert f"Pareto front: {len(front)} of 4 trials" in printed
    tags = {run.data.tags["trial.id"]: run.data.tags["trial.front"] for run in earlier.run.trials()}
    assert {trial for trial, tag in tags.items() if tag == "yes"} == front
    client, run_id = earlier.run.client, earlier.run.run_id
    plots = {artifact.path for artifact in client.list_artifacts(run_id, "plots")}
    assert "plots/front.svg" in plots
    assert "| front |" in client.get_run(run_id).data.tags["mlflow.note.content"]


def test_the_smallest_adapter_is_on_the_front_and_the_winner_leads_it(earlier, by_rank):
    board = earlier.board
    assert by_rank["1"] in board.front
    assert board.front[0] == board.winner


def test_the_trial_that_breaks_the_limit_was_not_trained_and_comes_last(earlier, by_rank):
    large = by_rank["64"]
    assert earlier.board.trials[-1] == large
    assert (large.state, large.rung) == ("stopped", 0)
    assert large.violates.startswith("adapter_mb is ")
    (only,) = record.read(earlier.folder, large.name)
    assert only.rung == 0


def test_plain_optuna_reads_directions_values_and_violations(earlier, by_rank):
    storage = JournalStorage(JournalFileBackend(str(earlier.folder.study)))
    study = optuna.load_study(study_name="front-1", storage=storage)
    minimize = optuna.study.StudyDirection.MINIMIZE
    assert study.directions == [minimize, minimize]
    trials = {trial.user_attrs["trial"]: trial for trial in study.trials}
    states = {"completed": TrialState.COMPLETE, "stopped": TrialState.PRUNED}
    for rank, read in by_rank.items():
        trial = trials[read.name]
        assert trial.state == states[read.state]
        assert (trial.constraints["adapter_mb"] > 0) == (rank == "64")
        if trial.state == TrialState.COMPLETE:
            assert trial.values == list(read.values)
    complete = [each for each in earlier.board.front if each.state == "completed"]
    assert {trial.user_attrs["trial"] for trial in study.best_trials} >= {
        each.name for each in complete
    }


def test_comparing_shows_the_front(ended):
    written = io.StringIO()
    board.print_sweep("front-1", ended[2], Console(file=written, width=200))
    assert "adapter_mb (min)" in written.getvalue()


def test_a_winner_that_the_gate_refuses_is_a_challenger_and_the_sweep_ends_well(ended):
    code, printed, _ = ended
    assert code == 0
    assert "because of gain in exact_match: " in printed
    assert "required: its lower end above 0.9" in printed
    assert "small-captioner version 1 is registered, alias challenger" in printed


def test_a_point_of_the_front_is_sent_to_the_gate_by_name_only(ended, earlier, by_rank):
    written = io.StringIO()
    console = Console(file=written, width=200)
    with pytest.raises(ValueError, match="has several objectives; choose a trial") as refused:
        find_trial("front-1", ended[2])
    assert all(trial.name in str(refused.value) for trial in earlier.board.front)
    with pytest.raises(ValueError, match=r"cannot be promoted: adapter_mb is .*, must be < 0\.1"):
        find_trial(f"front-1/{by_rank['64'].name}", ended[2])
    with pytest.raises(ValueError, match=r"no trial 'trial-9' in front-1; there are trial-0"):
        find_trial("front-1/trial-9", ended[2])
    sweep, entry = find_trial(f"front-1/{by_rank['1'].name}", ended[2])
    challenger = challenger_of(sweep, entry)
    promote(challenger, Policy.of(sweep.sweep), sweep.run.tracking, console)
    assert "small-captioner version" in written.getvalue()
    version = earlier.run.client.get_model_version_by_alias("small-captioner", "challenger")
    assert version.tags["trial.id"] == by_rank["1"].name
    assert {"best.loss", "best.adapter_mb"} <= set(version.tags)


def test_study_records_and_mlflow_agree(ended):
    written = io.StringIO()
    code = checkup.compare_records("front-1", ended[2], Console(file=written, width=200))
    assert (code, written.getvalue()) == (
        checkup.AGREED, "4 trials, {} rungs: study, records and MLflow agree\n".format(
            sum(len(record.read(SweepFolder(root=ended[2], sweep_id="front-1"), f"trial-{n:03d}"))
                for n in range(4))),
    )  # fmt: skip


def test_resuming_an_ended_sweep_changes_nothing(ended, earlier):
    """But it removes what a driver that was killed has left of a trial that ended."""
    before = [record.read(earlier.folder, f"trial-{number:03d}") for number in range(4)]
    left = earlier.folder.trial("trial-000") / "rung-001"
    left.mkdir()
    written = io.StringIO()
    code = outcome.run_sweep(earlier.sweep, ended[2], "front-1", Console(file=written, width=200))
    assert code == 0
    assert [record.read(earlier.folder, f"trial-{number:03d}") for number in range(4)] == before
    assert not left.exists()
    again = SweepHandle.find(ended[2], "front-1").board
    assert [trial.name for trial in again.front] == [trial.name for trial in earlier.board.front]
