"""A whole sweep in which trials take over from each other, and what is left to be seen of it."""

import io

import pytest
from optuna.trial import TrialState
from rich.console import Console

from sweeps.board.handle import SweepHandle
from sweeps.doctor.checkup import AGREED, compare_records
from sweeps.results import record, segments
from sweeps.study.study import open_study, own_trials, recipe_of
from sweeps.tracking import trial_run
from workers.host.host import Host

pytestmark = pytest.mark.slow

FILE = """
name: bred
model: {{base: {base}}}
data: {{source: shapes, limit: 32, split: {{train: 0.5, validation: 0.25, test: 0.25}}}}
train: {{epochs: 4, batch_size: 8}}
adapter: {{dropout: 0.1}}
evaluate: {{metrics: [exact_match], max_new_tokens: 4, final_beams: 1}}
guard: {{stop: false}}                    # the base is untrained and has few words
search:
  space:
    adapter.rank: {{choice: [2, 4]}}
    train.learning_rate: {{log_uniform: [1e-5, 1e-1]}}
  sampler: {{name: random, seed: 0}}
  start:
    - {{adapter.rank: 2, train.learning_rate: 1e-5}}
    - {{adapter.rank: 4, train.learning_rate: 1e-2}}
    - {{adapter.rank: 2, train.learning_rate: 1e-4}}
    - {{adapter.rank: 2, train.learning_rate: 1e-3}}
  objective: {{metric: loss}}
  trials: 4
schedule: {{name: pbt, options: {{perturbation_interval: 2, resample: 0}}}}
resources: {{hosts: 1, slots: 2}}
"""
WORST, BEST = "trial-000", "trial-001"


@pytest.fixture(scope="module")
def earlier(ended):
    return SweepHandle.find(ended[2], "bred-1")


@pytest.fixture(scope="module")
def segment(earlier):
    """The only one: of four trials one is a quarter, and after rung 4 nothing is left."""
    (segment,) = segments.every(earlier.folder)
    return segment


@pytest.fixture(scope="module")
def runs(earlier):
    return {run.data.tags["trial.id"]: run for run in earlier.run.trials()}


def objectives(earlier, trial):
    return {one.rung: one.objective for one in record.read(earlier.folder, trial)}


def test_the_worst_takes_over_from_the_best_and_all_do_every_rung(ended, earlier, segment):
    assert ended[0] == 0, ended[1]
    assert (segment.trial, segment.rung, segment.donor) == (WORST, 2, BEST)
    at_two = {trial: objectives(earlier, trial)[2] for trial in earlier.folder.trials()}
    assert max(at_two, key=at_two.get) == WORST
    assert min(at_two, key=at_two.get) == BEST
    for trial in earlier.folder.trials():
        assert [one.rung for one in record.read(earlier.folder, trial)] == [1, 2, 3, 4]
    assert [one.changes for one in record.read(earlier.folder, WORST)] == [0, 0, 1, 1]


def test_its_next_rungs_are_those_of_the_donor_with_the_changed_rate(earlier, segment, tmp_path):
    """The donor is trained again by hand, up to the rung, and then on with the changed point.

    Here with one thread: sums over several have other last digits.
    """
    host = Host(threads=1)
    host.admit(
        "donor", earlier.sweep.recipe.with_point({**segment.point, "train.learning_rate": 1e-2})
    )
    losses = [host.advance("donor").metrics["val/loss"] for _ in range(2)]
    assert losses == pytest.approx([objectives(earlier, BEST)[rung] for rung in (1, 2)], rel=1e-5)
    host.snapshot("donor", tmp_path / "snapshot")
    assert segment.point["train.learning_rate"] in (pytest.approx(8e-3), pytest.approx(1.2e-2))
    assert segment.point["adapter.rank"] == 4
    host.restore("taken", earlier.sweep.recipe.with_point(segment.point), tmp_path / "snapshot")
    losses = [host.advance("taken").metrics["val/loss"] for _ in range(2)]
    host.close()
    assert losses == pytest.approx([objectives(earlier, WORST)[rung] for rung in (3, 4)], rel=1e-5)
    assert losses[0] != pytest.approx(objectives(earlier, BEST)[3], rel=1e-4)


def test_mlflow_shows_the_whole_curve_and_a_child_run_from_the_change_on(earlier, runs, segment):
    client = earlier.run.client

    def steps(run):
        return [point.step for point in client.get_metric_history(run.info.run_id, "val/loss")]

    assert sorted(runs) == [f"trial-{number:03d}" for number in range(4)]
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert steps(runs[WORST]) == [0, 1, 2, 3, 4]
    assert runs[WORST].data.params["train.learning_rate"] == "1e-05"
    (child,) = trial_run.find_segments(client, runs[WORST])
    assert (child.info.status, steps(child)) == ("FINISHED", [3, 4])
    rate = str(segment.point["train.learning_rate"])
    assert child.data.params["train.learning_rate"] == rate
    assert all(not trial_run.find_segments(client, runs[trial]) for trial in runs if trial != WORST)


def test_the_leaderboard_shows_the_point_it_ended_with_and_where_its_weights_came_from(
    ended, earlier, segment
):
    trial = earlier.board.trial(WORST)
    rate = f"lr{segment.point['train.learning_rate']:.3g}"
    assert trial.title == f"{WORST} r4 {rate}"
    assert trial.lineage == f"{rate} <- {BEST}@2"
    assert trial.lineage in ended[1]


def test_optuna_knows_what_became_of_the_points_that_it_proposed(earlier, segment):
    trials = own_trials(open_study(earlier.sweep, earlier.folder))
    assert {name: trial.state for name, trial in trials.items()} == {
        WORST: TrialState.PRUNED, **dict.fromkeys(sorted(trials)[1:], TrialState.COMPLETE),
    }  # fmt: skip
    assert trials[WORST].params["train.learning_rate"] == 1e-5
    assert set(trials[WORST].intermediate_values) == {1, 2}
    assert trials[WORST].user_attrs["segments"][0]["point"] == segment.point


def test_the_recipe_of_its_best_adapter_is_that_of_the_segment(earlier, segment):
    recipe = recipe_of(earlier.sweep, earlier.folder, WORST)
    assert recipe.train.learning_rate == segment.point["train.learning_rate"]
    assert recipe.adapter.rank == 4


def test_study_records_and_mlflow_agree_and_no_snapshot_is_left(ended, earlier):
    written = io.StringIO()
    assert compare_records("bred-1", ended[2], Console(file=written, width=200)) == AGREED
    assert "4 trials, 16 rungs" in written.getvalue()
    assert not [*earlier.folder.path.glob("trials/*/rung-*")]
    assert not [*earlier.folder.path.glob("trials/*/donated-*")]
