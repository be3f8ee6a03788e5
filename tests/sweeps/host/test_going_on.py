"""Trials that go on after a host died, gave them up or ran out of disk, or from another one."""

import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from sweeps.host.actor import HostActor
from sweeps.results import record
from sweeps.results.retention import KEPT_SNAPSHOTS
from sweeps.trial import Start


def forget_last_rung(context):
    """Leave the record as a process does that is killed while it writes the last rung."""
    path = context.folder.record("trial-000")
    last = [line for line in record.lines(path) if line.event is None][-1]
    path.write_bytes(path.read_bytes()[: (last.start + last.end) // 2])


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
    assert (again.rung, again.objective) == (6, through.objective)


def test_a_trial_whose_run_was_deleted_has_a_whole_one_once_it_is_opened_again(actor, runs):
    point = {"train.learning_rate": 1e-3}
    actor.open(0, point)
    losses = [actor.advance(0).objective for _ in range(3)]
    actor.close(0)
    (run,), client = runs()[0].values(), runs()[1]
    client.delete_run(run.info.run_id)
    assert actor.open(0, point) is None
    (run,) = runs()[0].values()
    heard = client.get_metric_history(run.info.run_id, "val/loss")
    assert [(metric.step, metric.value) for metric in heard[1:]] == list(enumerate(losses, start=1))


def test_a_trial_that_had_finished_needs_no_slot_again(actor, context, run_out):
    actor.open(0, {"train.learning_rate": 1e-2})
    results = run_out(0)
    actor.close(0)
    assert record.read(context.folder, "trial-000") == results
    assert actor.open(0, {"train.learning_rate": 1e-2}) is None
    actor.close(0)
    assert record.read(context.folder, "trial-000") == results


def weights(folder):
    return load_file(folder / "adapter_model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("kind", ["snapshot", "best"])
def test_a_trial_begins_where_another_one_stood(actor, context, run_of, kind):
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
    assert result.rung == 2
    trained, there = (weights(folder) for folder in
                      (context.folder.snapshot("trial-001", 2), origin))  # fmt: skip
    # So low a rate moves no weight far from where it began.
    assert all(torch.allclose(trained[key], there[key], atol=1e-4) for key in there)
    assert not same(trained, there)
    assert run_of(1).data.tags["trial.from"] == "trial-000 rung 1"


def test_the_tag_of_a_trial_that_goes_on_says_what_its_new_host_does(actor, context, run_of):
    actor.open(0, {"train.learning_rate": 1e-3})
    actor.advance(0)
    actor.close(0)
    resources = context.sweep.resources.model_copy(update={"packing": "off"})
    sweep = context.sweep.model_copy(update={"resources": resources})
    alone = HostActor(replace(context, sweep=sweep), "host-1")
    try:
        assert alone.open(0, {"train.learning_rate": 1e-3}) is None
        assert run_of().data.tags["trial.packed"] == "no: packing is off"
    finally:
        alone.shutdown()


def test_a_full_disk_is_no_failure_of_the_trial_and_names_the_folder(actor, context):
    actor.open(0, {"train.learning_rate": 1e-2})
    assert actor.advance(0).rung == 1
    file = context.folder.record("trial-000")
    kept = file.read_text()
    file.unlink()
    file.symlink_to("/dev/full")
    result = actor.advance(0)
    assert (result.failed, result.finished, result.is_rung) == (None, False, False)
    assert str(context.folder.path) in result.disk_full
    assert "sweeps resume" in result.disk_full
    file.unlink()
    file.write_text(kept)
    assert actor.open(0, {"train.learning_rate": 1e-2}) is None
    assert actor.advance(0).rung == 2


def test_a_host_that_was_given_up_reports_no_more_rungs(actor, context, runs, run_of):
    """Its node was only cut off: the trial has gone on elsewhere meanwhile."""
    other, point = HostActor(context, "host-1"), {"train.learning_rate": 1e-3}
    for number in (0, 1):
        assert actor.open(number, point, fencing_token="first") is None
        assert actor.advance(number).rung == 1
        assert other.open(number, point, fencing_token="second") is None
    assert "goes on on another host" in actor.advance(0).failed
    assert other.advance(0).rung == 2
    assert [result.rung for result in record.read(context.folder, "trial-000")] == [1, 2]
    client, run_id = runs()[1], run_of(1).info.run_id

    def logged():
        runs()
        return [file.path for file in client.list_artifacts(run_id, "eval")]

    actor.close(1, "first")
    assert "eval/predictions.json" not in logged()
    other.close(1, "second")
    assert "eval/predictions.json" in logged()
    other.shutdown()
