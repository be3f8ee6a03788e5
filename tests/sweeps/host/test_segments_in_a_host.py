"""What a host makes of a trial that took over another's state, without Ray."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from sweeps.board import leaderboard
from sweeps.host.actor import HostActor
from sweeps.host.context import SweepContext
from sweeps.host.trial import OpenTrial
from sweeps.results import record, segments
from sweeps.results.best import Best
from sweeps.results.folder import SweepFolder
from sweeps.results.segments import Generation, Segment
from sweeps.spec.load import parse
from sweeps.study.study import TRIAL, open_study
from sweeps.tracking import trial_run
from sweeps.tracking.sweep_run import SweepRun
from tests.sweeps.published import sweep_run
from workers.host.host import Host

FILE = """
name: taken
model: {{base: {base}}}
data: {{source: shapes, limit: 24, split: {{train: 0.5, validation: 0.25, test: 0.25}}}}
train: {{epochs: 4, batch_size: 4}}
adapter: {{dropout: 0.1}}
evaluate: {{metrics: [exact_match], max_new_tokens: 4}}
guard: {{stop: false}}
search:
  space:
    adapter.rank: {{choice: [2, 4]}}
    train.learning_rate: {{log_uniform: [1e-5, 1e-1]}}
  objective: {{metric: loss}}
schedule: {{name: pbt}}
"""
GOOD, BAD = (
    {"adapter.rank": 4, "train.learning_rate": 1e-2},
    {"adapter.rank": 2, "train.learning_rate": 1e-4},
)
CHANGED = {"adapter.rank": 4, "train.learning_rate": 8e-3}
SEGMENT = Segment(
    trial="trial-001", rung=2, donor="trial-000", point=CHANGED, perturbed=("train.learning_rate",)
)


@pytest.fixture
def context(tracking, untrained_base):
    folder = SweepFolder.create(tracking.root, "taken")
    SweepRun.open(tracking, folder.sweep_id, "name: taken", {})
    return SweepContext(
        sweep=parse(FILE.format(base=untrained_base)), folder=folder, threads=1,
    )  # fmt: skip


@pytest.fixture
def actor(context):
    """A host whose second trial was given the state of its first after rung 2."""
    actor = HostActor(context, "host-0")
    for number, point in enumerate((GOOD, BAD)):
        assert actor.open(number, point, None, "first") is None
        for _ in range(2):
            assert actor.advance(number).failed is None
    scores = {"trial-000": 1.0, "trial-001": 2.0}
    segments.keep(context.folder, Generation(rung=2, scores=scores, segments=(SEGMENT,)))
    yield actor
    actor.shutdown()


def weights(folder):
    return load_file(folder / "adapter_model.safetensors")


def run_of(context, trial="trial-001"):
    parent = sweep_run(context.folder)
    return next(run for run in parent.trials() if run.data.tags["trial.id"] == trial)


def losses(context, run):
    client = sweep_run(context.folder).client
    history = client.get_metric_history(run.info.run_id, "val/loss")
    return {point.step: point.value for point in history}


def test_a_trial_goes_on_with_its_donors_weights_and_the_changed_rate(actor, context, tmp_path):
    """To the last bit what the donor itself would have become with that rate."""
    assert actor.open(1, BAD, None, "second") is None
    actor._host.export("trial-001", tmp_path / "now")
    donor, now = weights(context.folder.snapshot("trial-000", 2)), weights(tmp_path / "now")
    assert donor.keys() == now.keys()
    assert all(torch.equal(donor[name], now[name]) for name in donor)
    result = actor.advance(1)
    host = Host(threads=1)
    recipe = context.sweep.recipe.with_point(CHANGED)
    host.restore("alone", recipe, context.folder.snapshot("trial-000", 2))
    alone = host.advance("alone")
    host.close()
    assert (result.rung, result.objective) == (3, alone.metrics["val/loss"])
    assert result.changes == 1
    assert result.metrics["point/train.learning_rate"] == 8e-3
    assert [each.changes for each in record.read(context.folder, "trial-001")] == [0, 0, 1]


def test_mlflow_has_a_child_run_with_the_segments_parameters(actor, context):
    actor.open(1, BAD, None, "second")
    actor.advance(1)
    run = run_of(context)
    assert run.info.run_name == "trial-001 r4 lr0.008"
    assert run.data.tags["trial.lineage"] == "lr0.008 <- trial-000@2"
    assert run.data.params["train.learning_rate"] == "0.0001"
    (segment,) = trial_run.find_segments(sweep_run(context.folder).client, run)
    assert segment.data.params["train.learning_rate"] == "0.008"
    assert segment.data.params["adapter.rank"] == "4"
    assert segment.info.run_name == "trial-001 r4 lr0.008 <- trial-000@2"
    whole, part = losses(context, run), losses(context, segment)
    assert sorted(whole) == [0, 1, 2, 3]
    assert part == {3: whole[3]}


def test_the_sweep_ends_the_segments_with_their_trial_and_knows_the_lineage(actor, context):
    actor.open(1, BAD, None, "second")
    actor.advance(1)
    parent = sweep_run(context.folder)
    parent.close_trial("trial-001", "completed")
    (segment,) = trial_run.find_segments(parent.client, run_of(context))
    assert segment.info.status == "FINISHED"
    study = open_study(context.sweep, context.folder)
    for name in ("trial-000", "trial-001"):
        study.ask().set_user_attr(TRIAL, name)
    board = leaderboard.read(context.sweep, context.folder)
    trial = board.trial("trial-001")
    assert leaderboard.row(board, trial, ())[0] == "trial-001 r4 lr0.008"
    assert leaderboard.row(board, trial, ())[-1] == "lr0.008 <- trial-000@2"
    assert leaderboard.header(board, ())[-1] == "lineage"
    assert len(board.trials) == 2


def test_a_second_change_ends_the_first_segment_and_tells_nothing_twice(actor, context):
    actor.open(1, BAD, None, "second")
    actor.advance(1)
    actor.close(1, "second")
    again = Segment(trial="trial-001", rung=3, donor="trial-000", point=GOOD, perturbed=())
    actor.advance(0)
    scores = {"trial-000": 1.0, "trial-001": 2.0}
    segments.keep(context.folder, Generation(rung=3, scores=scores, segments=(again,)))
    assert actor.open(1, BAD, None, "third") is None
    actor.advance(1)
    found = trial_run.find_segments(sweep_run(context.folder).client, run_of(context))
    runs = {run.data.tags["segment.rung"]: run for run in found}
    assert {rung: run.info.status for rung, run in runs.items()} == {"2": "KILLED", "3": "RUNNING"}
    assert [sorted(losses(context, runs[rung])) for rung in ("2", "3")] == [[3], [4]]
    assert run_of(context).data.tags["trial.lineage"] == "<- trial-000@3"


def test_whoever_gave_a_waiting_trial_up_does_not_close_it_under_the_next(actor):
    assert actor.open(1, BAD, None, "second") is None
    actor.close(1, "first")
    assert actor.advance(1).failed is None
    actor.close(1, "second")
    assert "trial-001" in actor.advance(1).failed


def test_a_copy_that_is_missing_ends_the_trial_and_says_which(actor, context):
    context.folder.snapshot("trial-001", 2).rename(context.folder.trial("trial-001") / "lost")
    failure = actor.open(1, BAD, None, "second")
    assert "trial-001 goes on from trial-000@2" in failure.failed
    assert "rung-002" in failure.failed


def test_examples_are_those_of_the_end_and_not_of_a_wait(actor, context):
    def steps():
        found = sweep_run(context.folder).client.list_artifacts(
            run_of(context).info.run_id, "images"
        )
        return {one.path.split("+step+")[1].split("+")[0] for one in found if "+step+" in one.path}

    actor.close(1, "first")
    assert steps() == {"0"}
    actor.open(1, BAD, None, "second")
    while not actor.advance(1).finished:
        continue
    actor.close(1, "second")
    assert steps() == {"0", "4"}


def test_patience_begins_anew_with_another_trials_state():
    recipe = parse(FILE.format(base="nothing"), overrides=["train.patience=2"]).recipe
    best = Best(value=1.0, rung=1, metrics={})
    alone = OpenTrial(name="trial-001", record=None, recipe=recipe, best=best)
    trial = replace(alone, segments=(SEGMENT,))
    assert [alone.out_of_patience(rung) for rung in (2, 3, 4)] == [False, True, True]
    assert [trial.out_of_patience(rung) for rung in (2, 3, 4)] == [False, False, True]
