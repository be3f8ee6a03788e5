"""Which rung of a trial is its best, what is kept of it, and when patience ends the trial."""

import json

import pytest
from safetensors.torch import load_file

from sweeps.results import best, scores_file
from sweeps.results.best import Best
from workers.evaluation.scoring import digest_of_ids


def test_the_best_rung_is_kept_with_its_adapter(actor, context, run_out):
    assert actor.open(0, {"train.learning_rate": 1e-2}) is None
    results = run_out(0)
    losses = [result.objective for result in results]
    folder = context.folder.best_adapter("trial-000")
    first = losses.index(min(losses))
    scores = results[first].metrics.items()
    metrics = {name: value for name, value in scores if not name.startswith("final/")}
    kept = Best(value=losses[first], rung=first + 1, metrics=metrics)
    assert best.read(folder) == kept
    assert results[-1].best == min(losses)
    assert load_file(folder / "adapter_model.safetensors")
    assert "final/exact_match" in results[-1].metrics


@pytest.mark.parametrize("context", ["exact_match"], indirect=True)
def test_patience_ends_a_trial_that_does_not_get_better(actor, run_out):
    """So low a rate changes no caption: rung 1 stays the best, and two rungs of patience follow."""
    actor.open(0, {"train.learning_rate": 1e-6})
    results = run_out(0)
    assert [result.rung for result in results] == [1, 2, 3]
    assert results[-1].finished
    assert results[-1].failed is None


def test_a_trial_that_gets_better_is_not_ended_by_patience(actor, run_out):
    actor.open(0, {"train.learning_rate": 1e-3})
    assert len(run_out(0)) == 6


@pytest.mark.parametrize("context", ["loss, final_beams: 1"], indirect=True)
def test_captions_of_the_best_rung_that_would_come_again_are_the_final_ones(
    actor, context, monkeypatch, run_out
):
    actor.open(0, {"train.learning_rate": 1e-2})
    with monkeypatch.context() as nothing:
        nothing.delattr(type(actor._host), "begin_score")
        metrics = run_out(0)[-1].metrics
    again = actor._host.score("trial-000", context.folder.best_adapter("trial-000"))
    assert "final/exact_match" in again.metrics
    assert {name: metrics[name] for name in metrics if name.startswith("final/")} == again.metrics
    assert actor._trials["trial-000"].predictions == again.predictions


@pytest.mark.parametrize("context", ["exact_match, from_rung: 3"], indirect=True)
def test_rungs_before_the_first_captions_have_no_objective_and_cost_no_patience(
    actor, context, run_out
):
    """So low a rate changes no caption: rung 3 stays the best, and two rungs of patience follow."""
    actor.open(0, {"train.learning_rate": 1e-6})
    results = run_out(0)
    assert [result.objective is None for result in results] == [True, True, False, False, False]
    assert "val/exact_match" not in results[1].metrics
    assert "val/loss" in results[1].metrics
    assert best.read(context.folder.best_adapter("trial-000")).rung == 3
    assert "final/exact_match" in results[-1].metrics


@pytest.mark.parametrize("context", ["loss, from_rung: 6"], indirect=True)
def test_by_its_loss_a_rung_without_captions_can_be_the_best(actor, runs):
    actor.open(0, {"train.learning_rate": 1e-3})
    first = actor.advance(0)
    assert first.best == first.objective == first.metrics["val/loss"]
    trials, client = runs()
    assert scores_file.read(client, trials["trial-000"].info.run_id) is None
    actor.close(0)


@pytest.mark.parametrize("context", ["loss, limit: 4"], indirect=True)
def test_a_finished_trial_is_scored_on_the_whole_split_and_says_so(actor, context, run_out, runs):
    actor.open(0, {"train.learning_rate": 1e-3})
    run_out(0)
    actor.close(0)
    trials, client = runs()
    run = trials["trial-000"]
    tags = run.data.tags
    assert (tags["eval.images"], tags["eval.final_images"]) == ("4", "6")
    whole = actor._host.data_set(context.sweep.recipe).splits["validation"]
    assert tags["eval.final_digest"] == digest_of_ids(sample.id for sample in whole)
    kept = scores_file.read(client, run.info.run_id)
    assert len(kept.best.scored.ids) == 4
    assert kept.final is None  # scores of other images cannot be compared with those of a rung
    with open(client.download_artifacts(run.info.run_id, "eval/predictions.json")) as file:
        assert len(json.load(file)["data"]) == 6


def test_the_scores_of_the_best_and_the_final_captions_are_kept(actor, run_out, runs):
    actor.open(0, {"train.learning_rate": 1e-3})
    actor.advance(0)
    trials, client = runs()
    first = scores_file.read(client, trials["trial-000"].info.run_id)
    assert (first.best.beams, first.final) == (1, None)
    run_out(0)
    trials, client = runs()
    kept = scores_file.read(client, trials["trial-000"].info.run_id)
    metrics = trials["trial-000"].data.metrics
    assert kept.best.scored.corpus == {"exact_match": metrics["best/exact_match"]}
    assert kept.final.scored.corpus == {"exact_match": metrics["final/exact_match"]}
    assert kept.final.beams == 3
    assert len(kept.final.scored.ids) == 6
    assert kept.references == first.references


@pytest.mark.parametrize("context", ["exact_match"], indirect=True)
def test_a_trial_that_goes_on_elsewhere_keeps_the_scores_of_its_best_rung(actor, run_out, runs):
    """So low a rate changes no caption: rung 1 stays the best, and the final ones are added."""
    actor.open(0, {"train.learning_rate": 1e-6})
    actor.advance(0)
    actor.close(0)
    trials, client = runs()
    before = scores_file.read(client, trials["trial-000"].info.run_id)
    actor.open(0, {"train.learning_rate": 1e-6})
    run_out(0)
    runs()
    after = scores_file.read(client, trials["trial-000"].info.run_id)
    assert after.best.scored.ids == before.best.scored.ids
    assert after.final is not None
