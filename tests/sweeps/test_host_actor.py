"""The host actor's own class, called without Ray: best adapter, patience, failures, tracking."""

import pytest
from safetensors.torch import load_file

from sweeps import best, record
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
    assert actor.open(0, {"train.learning_rate": 1e-2}) is None
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
    actor._host.advance = lambda name: torch.empty(2**55, dtype=torch.uint8)
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


def test_closing_an_unknown_trial_does_nothing(actor):
    actor.close(99)
