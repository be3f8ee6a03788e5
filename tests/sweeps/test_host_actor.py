"""The host actor's own class, called without Ray: best adapter, patience, failures, tracking."""

import pytest
from safetensors.torch import load_file

from sweeps import best, scores_file
from sweeps.best import Best
from sweeps.context import FAILED, SweepContext
from sweeps.host_actor import KEPT_SNAPSHOTS, HostActor
from sweeps.paths import SweepFolder
from sweeps.spec import parse
from sweeps.sweep_run import SweepRun
from sweeps.tracking import Tracking

FILE = """
name: acted
model: {{base: {base}}}
data: {{source: shapes, limit: 24, split: {{train: 0.5, validation: 0.25, test: 0.25}}}}
train: {{epochs: 6, batch_size: 8, learning_rate: 1e-2, patience: 2}}
evaluate: {{metrics: [exact_match], max_new_tokens: 4}}
search:
  space: {{train.learning_rate: {{log_uniform: [1e-6, 1e2]}}}}
  objective: {{metric: {metric}}}
"""


@pytest.fixture(scope="module")
def tracking(tmp_path_factory):
    return Tracking(uri=None, experiment="acted", root=tmp_path_factory.mktemp("results"))


@pytest.fixture
def context(tracking, untrained_base, request):
    metric = getattr(request, "param", "loss")
    sweep = parse(FILE.format(base=untrained_base, metric=metric))
    folder = SweepFolder.create(tracking.root, "acted")
    run = SweepRun.open(tracking, folder.sweep_id, "name: acted", {})
    return SweepContext(
        sweep=sweep, folder=folder, tracking=tracking, parent_run_id=run.run_id, threads=1
    )


@pytest.fixture
def actor(context):
    actor = HostActor(context, "host-0")
    yield actor
    actor.shutdown()


def run_out(actor, number):
    """Advance a trial to its end; the results of its rungs."""
    results = [actor.advance(number)]
    while not (results[-1]["finished"] or results[-1][FAILED]):
        results.append(actor.advance(number))
    return results


def test_the_best_rung_is_kept_with_its_adapter(actor, context):
    assert actor.open(0, {"train.learning_rate": 1e-2}, None) is None
    results = run_out(actor, 0)
    losses = [result["objective"] for result in results]
    folder = context.folder.best_adapter("trial-000")
    assert best.read(folder) == Best(value=min(losses), rung=losses.index(min(losses)) + 1)
    assert results[-1]["best"] == min(losses)
    assert load_file(folder / "adapter_model.safetensors")
    assert "final/exact_match" in results[-1]["metrics"]


@pytest.mark.parametrize("context", ["exact_match"], indirect=True)
def test_patience_ends_a_trial_that_does_not_get_better(actor):
    """So low a rate changes no caption: rung 1 stays the best, and two rungs of patience follow."""
    actor.open(0, {"train.learning_rate": 1e-6}, None)
    results = run_out(actor, 0)
    assert [result["rung"] for result in results] == [1, 2, 3]
    assert results[-1]["finished"]
    assert results[-1][FAILED] is None


def test_a_trial_that_gets_better_is_not_ended_by_patience(actor):
    actor.open(0, {"train.learning_rate": 1e-3}, None)
    assert len(run_out(actor, 0)) == 6


def test_an_error_of_the_trial_is_a_result_and_the_next_trial_works(actor):
    assert "exact" not in str(actor.open(0, {"train.learning_rate": 1e-2}, None))
    failure = actor.open(1, {"train.learning_rate": "fast"}, None)
    assert "train.learning_rate" in failure
    assert actor.advance(0)[FAILED] is None


def test_old_snapshots_go_and_the_newest_restores(actor, context):
    actor.open(0, {"train.learning_rate": 1e-3}, None)
    for _ in range(5):
        actor.advance(0)
    kept = sorted(folder.name for folder in context.folder.trial("trial-000").glob("rung-*"))
    assert kept == ["rung-003", "rung-004", "rung-005"]
    assert len(kept) == KEPT_SNAPSHOTS
    through = actor.advance(0)
    actor.close(0)
    snapshot = context.folder.snapshot("trial-000", 5)
    assert actor.open(0, {"train.learning_rate": 1e-3}, str(snapshot)) is None
    again = actor.advance(0)
    assert (again["rung"], again["objective"]) == (6, through["objective"])


def runs(context):
    """The runs of the sweep's trials, by trial."""
    run = SweepRun.find(context.tracking, context.folder.sweep_id)
    return {trial.data.tags["trial.id"]: trial for trial in run.trials()}, run.client


def test_the_scores_of_the_best_and_the_final_captions_are_kept(actor, context):
    actor.open(0, {"train.learning_rate": 1e-3}, None)
    actor.advance(0)
    trials, client = runs(context)
    first = scores_file.read(client, trials["trial-000"].info.run_id)
    assert (first.best.beams, first.final) == (1, None)
    run_out(actor, 0)
    trials, client = runs(context)
    kept = scores_file.read(client, trials["trial-000"].info.run_id)
    metrics = trials["trial-000"].data.metrics
    assert kept.best.scored.corpus == {"exact_match": metrics["best/exact_match"]}
    assert kept.final.scored.corpus == {"exact_match": metrics["final/exact_match"]}
    assert kept.final.beams == 3
    assert len(kept.final.scored.ids) == 6
    assert kept.references == first.references


@pytest.mark.parametrize("context", ["exact_match"], indirect=True)
def test_a_trial_that_goes_on_elsewhere_keeps_the_scores_of_its_best_rung(actor, context):
    """So low a rate changes no caption: rung 1 stays the best, and the final ones are added."""
    actor.open(0, {"train.learning_rate": 1e-6}, None)
    actor.advance(0)
    actor.close(0)
    trials, client = runs(context)
    before = scores_file.read(client, trials["trial-000"].info.run_id)
    actor.open(0, {"train.learning_rate": 1e-6}, str(context.folder.snapshot("trial-000", 1)))
    run_out(actor, 0)
    after = scores_file.read(client, trials["trial-000"].info.run_id)
    assert after.best.scored.ids == before.best.scored.ids
    assert after.final is not None


def test_closing_an_unknown_trial_does_nothing(actor):
    actor.close(99)
