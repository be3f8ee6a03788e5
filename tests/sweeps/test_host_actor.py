"""The host actor's own class, called without Ray: best adapter, patience, failures, tracking."""

import json
import math
import pickle
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from ray.exceptions import RayActorError
from safetensors.torch import load_file

from sweeps import best, record, scores_file
from sweeps.best import Best
from sweeps.context import FAILED, FULL, GUARD, SYMPTOMS, Start, SweepContext
from sweeps.disk import KEPT_SNAPSHOTS
from sweeps.host_actor import HostActor
from sweeps.pages import keepsakes
from sweeps.paths import SweepFolder
from sweeps.spec import parse
from sweeps.sweep_run import SweepRun
from sweeps.tracking import Tracking
from workers.metrics.scorer import Scorer
from workers.scoring import digest_of_ids

FILE = """
name: acted
model: {{base: {base}}}
data: {{source: shapes, limit: 24, split: {{train: 0.5, validation: 0.25, test: 0.25}}}}
train: {{epochs: 6, batch_size: 8, learning_rate: 1e-2, patience: 2}}
evaluate: {{metrics: [exact_match], max_new_tokens: 4{evaluate}}}
search:
  space: {{train.learning_rate: {{log_uniform: [1e-6, 1e2]}}}}
  objective: {{metric: {metric}}}
schedule: {{name: fifo}}
"""


@pytest.fixture(scope="module")
def tracking(tmp_path_factory):
    return Tracking(uri=None, experiment="acted", root=tmp_path_factory.mktemp("results"))


@pytest.fixture
def context(tracking, untrained_base, request):
    metric, evaluate = [*getattr(request, "param", "loss").split(", ", 1), ""][:2]
    text = FILE.format(base=untrained_base, metric=metric, evaluate=evaluate and f", {evaluate}")
    sweep = parse(text, overrides=["schedule.name=fifo"])
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


class LostScorer(Scorer):
    """A scorer that has gone with its node."""

    def score_each(self, several):
        raise RayActorError(error_msg="the actor is unavailable")


def test_a_scorer_that_is_gone_is_no_failure_of_the_trial(context):
    """Tune hears of it as of the host's own death, and tries again elsewhere."""
    actor = HostActor(context, "host-0", LostScorer)
    with pytest.raises(RayActorError, match="unavailable"):
        actor.open(0, {"train.learning_rate": 1e-2})
    actor.shutdown()


EARLY = """
import pickle, sys
from sweeps.host_actor import HostActor
from workers.metrics.scorer import Scorer

class Told(Scorer):
    def start(self):
        print(*({"torch", "transformers"} & sys.modules.keys()), "loaded before")
        super().start()

with open(sys.argv[1], "rb") as file:
    HostActor(pickle.load(file), "host-0", Told).shutdown()
print("torch" in sys.modules)
"""


def test_a_scorer_begins_before_torch_is_loaded(context, tmp_path):
    (tmp_path / "context").write_bytes(pickle.dumps(context))
    command = [sys.executable, "-c", EARLY, str(tmp_path / "context")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["loaded before", "True"]


def run_out(actor, number):
    """Advance a trial to its end; the results of its rungs."""
    results = [actor.advance(number)]
    while not (results[-1]["finished"] or results[-1][FAILED]):
        results.append(actor.advance(number))
    return results


def test_the_best_rung_is_kept_with_its_adapter(actor, context):
    assert actor.open(0, {"train.learning_rate": 1e-2}) is None
    results = run_out(actor, 0)
    losses = [result["objective"] for result in results]
    folder = context.folder.best_adapter("trial-000")
    first = losses.index(min(losses))
    scores = results[first]["metrics"].items()
    metrics = {name: value for name, value in scores if not name.startswith("final/")}
    kept = Best(value=losses[first], rung=first + 1, metrics=metrics)
    assert best.read(folder) == kept
    assert results[-1]["best"] == min(losses)
    assert load_file(folder / "adapter_model.safetensors")
    assert "final/exact_match" in results[-1]["metrics"]


@pytest.mark.parametrize("context", ["exact_match"], indirect=True)
def test_patience_ends_a_trial_that_does_not_get_better(actor):
    """So low a rate changes no caption: rung 1 stays the best, and two rungs of patience follow."""
    actor.open(0, {"train.learning_rate": 1e-6})
    results = run_out(actor, 0)
    assert [result["rung"] for result in results] == [1, 2, 3]
    assert results[-1]["finished"]
    assert results[-1][FAILED] is None


def test_a_trial_that_gets_better_is_not_ended_by_patience(actor):
    actor.open(0, {"train.learning_rate": 1e-3})
    assert len(run_out(actor, 0)) == 6


def test_an_error_of_the_trial_is_a_result_and_the_next_trial_works(actor):
    assert "exact" not in str(actor.open(0, {"train.learning_rate": 1e-2}))
    failure = actor.open(1, {"train.learning_rate": "fast"})
    assert "train.learning_rate" in failure["failed"]
    assert actor.advance(0)[FAILED] is None


def test_what_does_not_fit_in_memory_is_marked_as_such(actor):
    """A batch of 2**50 examples' worth of memory, asked of torch in the middle of a rung."""
    import torch

    assert actor.open(0, {"train.learning_rate": 1e-2}) is None
    pack = actor._host._slot("trial-000").trainer.pack
    pack._losses = lambda *step: torch.empty(2**55, dtype=torch.uint8)
    result = actor.advance(0)
    assert "DefaultCPUAllocator" in result[FAILED]
    assert result["violations"] == {"memory": 1.0}
    failure = actor.open(1, {"train.learning_rate": "fast"})
    assert failure["violations"] == {}


def test_old_snapshots_go_and_a_trial_goes_on_after_the_newest(actor, context):
    point = {"train.learning_rate": 1e-3}
    actor.open(0, point)
    for _ in range(5):
        actor.advance(0)
    kept = sorted(folder.name for folder in context.folder.trial("trial-000").glob("rung-*"))
    assert kept == ["rung-003", "rung-004", "rung-005"]
    assert len(kept) == KEPT_SNAPSHOTS
    through = actor.advance(0)
    actor.close(0)
    forget_last_rung(context)
    assert actor.open(0, point) is None
    again = actor.advance(0)
    assert (again["rung"], again["objective"]) == (6, through["objective"])


COLLAPSING = {"train.learning_rate": 10.0, "data.limit": 32}
"""Every image gets the same words, or none; 8 images are enough to tell."""


def run_of(context, number=0):
    parent = SweepRun.find(context.tracking, context.folder.sweep_id)
    return next(
        run for run in parent.trials() if run.data.tags["trial.id"] == f"trial-{number:03d}"
    )


def test_a_collapsed_trial_is_stopped_by_the_guard_without_a_best_rung(actor, context):
    """Its loss falls all the same: only what it writes tells."""
    assert actor.open(0, COLLAPSING) is None
    results = [actor.advance(0) for _ in range(2)]
    assert [result[FAILED] for result in results] == [None, None]
    assert all(result[SYMPTOMS] for result in results)
    assert results[0][GUARD] is None
    assert results[1][GUARD].startswith("rung 2: 100 % of 8 images got ")
    assert not any(result["finished"] for result in results)
    assert [result["best"] for result in results] == [None, None]
    assert not context.folder.best_adapter("trial-000").exists()
    run = run_of(context)
    assert run.data.tags["trial.symptoms"] == results[1][GUARD]
    assert run.data.metrics["val/loss"] == results[1]["objective"]


def test_the_best_adapter_of_a_healthy_rung_stays(actor, context):
    actor.open(0, {**COLLAPSING, "train.learning_rate": 1e-4})
    healthy = actor.advance(0)
    slot = actor._host._slot("trial-000").slot
    slot.recipe = slot.recipe.with_point({**COLLAPSING, "guard.rungs": 1})
    result = actor.advance(0)
    assert (result["best"], result["finished"]) == (healthy["objective"], False)
    assert "rung 2" in result[GUARD]
    assert best.read(context.folder.best_adapter("trial-000")).rung == 1
    actor.close(0)
    run = run_of(context)
    assert run.data.metrics["best/loss"] == healthy["objective"]


def test_a_loss_that_is_no_number_is_the_guards_business(actor):
    actor.open(0, {"train.learning_rate": 1e30, "train.max_grad_norm": None})
    result = actor.advance(0)
    assert (result["rung"], result[FAILED], result["best"]) == (1, None, None)
    assert math.isnan(result["objective"])
    assert re.match(r"rung 1: train/loss is (nan|inf) at step \d+ \(epoch 1\)", result[GUARD])


def test_without_the_guard_such_a_loss_is_an_error_and_a_collapse_runs_on(actor):
    off = {"guard.stop": False}
    actor.open(0, {"train.learning_rate": 1e30, "train.max_grad_norm": None, **off})
    assert "NonFiniteLossError" in actor.advance(0)[FAILED]
    actor.open(1, {**COLLAPSING, **off, "train.epochs": 3, "train.patience": None})
    results = run_out(actor, 1)
    assert [result["rung"] for result in results] == [1, 2, 3]
    assert results[-1]["finished"]
    assert results[1][SYMPTOMS][0].startswith("100 % of 8 images got ")
    assert results[-1]["best"] == min(result["objective"] for result in results)


def test_a_trial_that_ends_without_a_healthy_rung_was_stopped_by_the_guard(actor):
    actor.open(0, {**COLLAPSING, "train.epochs": 1})
    result = actor.advance(0)
    assert not result["finished"]
    assert result[GUARD] == "rung 1: " + "; ".join(result[SYMPTOMS])
    assert not any(name.startswith("final/") for name in result["metrics"])


def test_trial_and_sweep_say_which_images_score_them(actor, context):
    actor.warm_up()
    actor.open(0, {"train.learning_rate": 1e-3})
    parent = SweepRun.find(context.tracking, context.folder.sweep_id)
    samples = actor._host.scored_samples(context.sweep.recipe)
    expected = {"eval.images": "6", "eval.digest": digest_of_ids(one.id for one in samples)}
    for tags in (run_of(context).data.tags, parent.client.get_run(parent.run_id).data.tags):
        assert {key: tags[key] for key in expected} == expected


def test_warming_up_keeps_small_copies_of_the_images_and_the_base_s_captions(actor, context):
    actor.warm_up()
    kept = keepsakes.read(context.folder.keepsakes)
    ids = {one.id for one in actor._host.scored_samples(context.sweep.recipe)}
    assert set(kept.pictures) == set(kept.untrained) == ids


@pytest.mark.parametrize("context", ["loss, final_beams: 1"], indirect=True)
def test_captions_of_the_best_rung_that_would_come_again_are_the_final_ones(
    actor, context, monkeypatch
):
    actor.open(0, {"train.learning_rate": 1e-2})
    with monkeypatch.context() as nothing:
        nothing.delattr(type(actor._host), "begin_score")
        metrics = run_out(actor, 0)[-1]["metrics"]
    again = actor._host.score("trial-000", context.folder.best_adapter("trial-000"))
    assert "final/exact_match" in again.metrics
    assert {name: metrics[name] for name in metrics if name.startswith("final/")} == again.metrics
    assert actor._trials["trial-000"].predictions == again.predictions


@pytest.mark.parametrize("context", ["exact_match, from_rung: 3"], indirect=True)
def test_rungs_before_the_first_captions_have_no_objective_and_cost_no_patience(actor, context):
    """So low a rate changes no caption: rung 3 stays the best, and two rungs of patience follow."""
    actor.open(0, {"train.learning_rate": 1e-6})
    results = run_out(actor, 0)
    assert [result["objective"] is None for result in results] == [True, True, False, False, False]
    assert "val/exact_match" not in results[1]["metrics"]
    assert "val/loss" in results[1]["metrics"]
    assert best.read(context.folder.best_adapter("trial-000")).rung == 3
    assert "final/exact_match" in results[-1]["metrics"]


@pytest.mark.parametrize("context", ["loss, from_rung: 6"], indirect=True)
def test_by_its_loss_a_rung_without_captions_can_be_the_best(actor, context):
    actor.open(0, {"train.learning_rate": 1e-3})
    first = actor.advance(0)
    assert first["best"] == first["objective"] == first["metrics"]["val/loss"]
    trials, client = runs(context)
    assert scores_file.read(client, trials["trial-000"].info.run_id) is None
    actor.close(0)


@pytest.mark.parametrize("context", ["loss, limit: 4"], indirect=True)
def test_a_finished_trial_is_scored_on_the_whole_split_and_says_so(actor, context):
    actor.open(0, {"train.learning_rate": 1e-3})
    run_out(actor, 0)
    actor.close(0)
    trials, client = runs(context)
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


def forget_last_rung(context):
    """Leave the record as a process does that is killed while it writes the last line."""
    path = context.folder.record("trial-000")
    *lines, last = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines) + last[: len(last) // 2])


def test_rungs_on_record_are_told_to_mlflow_once_when_it_had_not_heard_of_them(actor, context):
    point = {"train.learning_rate": 1e-3}
    actor.open(0, point)
    losses = [actor.advance(0)["objective"] for _ in range(3)]
    actor.close(0)
    client = context.tracking.client()
    run = SweepRun.find(context.tracking, context.folder.sweep_id).trials()[0]
    client.delete_run(run.info.run_id)  # as if the host had died before it wrote
    assert actor.open(0, point) is None
    (run,) = SweepRun.find(context.tracking, context.folder.sweep_id).trials()
    heard = client.get_metric_history(run.info.run_id, "val/loss")
    assert [(metric.step, metric.value) for metric in heard] == list(enumerate(losses, start=1))


def test_a_trial_that_had_finished_needs_no_slot_again(actor, context):
    actor.open(0, {"train.learning_rate": 1e-2})
    results = run_out(actor, 0)
    actor.close(0)
    assert record.read(context.folder, "trial-000") == results
    assert actor.open(0, {"train.learning_rate": 1e-2}) is None
    actor.close(0)
    assert record.read(context.folder, "trial-000") == results


def test_a_trial_that_the_guard_stopped_needs_no_slot_again(actor, context):
    actor.open(0, COLLAPSING)
    results = [actor.advance(0) for _ in range(2)]
    actor.close(0)
    client = context.tracking.client()
    client.delete_run(run_of(context).info.run_id)  # as if the host had died before it wrote
    assert actor.open(0, COLLAPSING) is None
    actor.close(0)
    assert record.read(context.folder, "trial-000") == results
    assert run_of(context).data.tags["trial.symptoms"] == results[1][GUARD]


def runs(context):
    """The runs of the sweep's trials, by trial."""
    run = SweepRun.find(context.tracking, context.folder.sweep_id)
    return {trial.data.tags["trial.id"]: trial for trial in run.trials()}, run.client


def test_the_scores_of_the_best_and_the_final_captions_are_kept(actor, context):
    actor.open(0, {"train.learning_rate": 1e-3})
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
    actor.open(0, {"train.learning_rate": 1e-6})
    actor.advance(0)
    actor.close(0)
    trials, client = runs(context)
    before = scores_file.read(client, trials["trial-000"].info.run_id)
    actor.open(0, {"train.learning_rate": 1e-6})
    run_out(actor, 0)
    after = scores_file.read(client, trials["trial-000"].info.run_id)
    assert after.best.scored.ids == before.best.scored.ids
    assert after.final is not None


def test_closing_an_unknown_trial_does_nothing(actor):
    actor.close(99)


def weights(folder):
    return load_file(folder / "adapter_model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("kind", ["snapshot", "best"])
def test_a_trial_begins_where_another_one_stood(actor, context, kind):
    off = {"guard.stop": False}
    actor.open(0, {"train.learning_rate": 1e-2, **off})
    actor.advance(0)
    origin, copied = context.folder.snapshot("trial-000", 1), context.folder.start("copied")
    shutil.copytree(origin, copied)
    if kind == "best":  # an adapter alone
        (copied / "optimizer.pt").unlink()
        (copied / "best.json").write_text('{"rung": 1, "value": 0.5, "metrics": {}}')
    start = Start(trial="trial-000", rung=1, folder="copied")
    assert actor.open(1, {"train.learning_rate": 1e-6, **off}, start) is None
    result = actor.advance(1)
    assert result["rung"] == 2
    trained, there = (weights(folder) for folder in
                      (context.folder.snapshot("trial-001", 2), origin))  # fmt: skip
    # So low a rate moves no weight far from where it began.
    assert all(torch.allclose(trained[key], there[key], atol=1e-4) for key in there)
    assert not same(trained, there)
    run = SweepRun.find(context.tracking, context.folder.sweep_id)
    tags = {trial.data.tags["trial.id"]: trial.data.tags for trial in run.trials()}
    assert tags["trial-001"]["trial.from"] == "trial-000 rung 1"


@pytest.mark.parametrize(
    ("point", "told"),
    [
        ({}, "yes"),
        ({"adapter.variant": "dora"}, "no: DoRA norms the whole weight of each trial"),
    ],
)
def test_a_tag_says_whether_a_trial_is_packed(actor, context, point, told):
    actor.open(0, point)
    assert run_of(context).data.tags["trial.packed"] == told


def test_the_tag_of_a_trial_that_goes_on_says_what_its_new_host_does(actor, context):
    actor.open(0, {"train.learning_rate": 1e-3})
    actor.advance(0)
    actor.close(0)
    resources = context.sweep.resources.model_copy(update={"packing": "off"})
    sweep = context.sweep.model_copy(update={"resources": resources})
    alone = HostActor(replace(context, sweep=sweep), "host-1")
    try:
        assert alone.open(0, {"train.learning_rate": 1e-3}) is None
        assert run_of(context).data.tags["trial.packed"] == "no: packing is off"
    finally:
        alone.shutdown()


def test_a_full_disk_is_no_failure_of_the_trial_and_names_the_folder(actor, context):
    actor.open(0, {"train.learning_rate": 1e-2})
    assert actor.advance(0)["rung"] == 1
    file = context.folder.record("trial-000")
    kept = file.read_text()
    file.unlink()
    file.symlink_to("/dev/full")
    result = actor.advance(0)
    assert (result[FAILED], result["finished"], "rung" in result) == (None, False, False)
    assert str(context.folder.path) in result[FULL]
    assert "sweeps resume" in result[FULL]
    file.unlink()
    file.write_text(kept)
    assert actor.open(0, {"train.learning_rate": 1e-2}) is None
    assert actor.advance(0)["rung"] == 2


def test_a_host_that_was_given_up_reports_no_more_rungs(actor, context):
    """Its node was only cut off: the trial has gone on elsewhere meanwhile."""
    other, point = HostActor(context, "host-1"), {"train.learning_rate": 1e-3}
    for number in (0, 1):
        assert actor.open(number, point, opening="first") is None
        assert actor.advance(number)["rung"] == 1
        assert other.open(number, point, opening="second") is None
    assert "goes on on another host" in actor.advance(0)[FAILED]
    assert other.advance(0)["rung"] == 2
    assert [result["rung"] for result in record.read(context.folder, "trial-000")] == [1, 2]
    client, run_id = context.tracking.client(), run_of(context, 1).info.run_id

    def logged():
        return [file.path for file in client.list_artifacts(run_id, "eval")]

    actor.close(1, "first")
    assert "eval/predictions.json" not in logged()
    other.close(1, "second")
    assert "eval/predictions.json" in logged()
    other.shutdown()
