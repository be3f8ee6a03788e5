"""Hosts without Ray, each on a machine of its own, and a store between them."""

import time
from dataclasses import replace
from functools import partial

import pytest

from sweeps.host.actor import HostActor
from sweeps.host.context import SweepContext
from sweeps.results import record
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import parse
from sweeps.storage import copies, places
from sweeps.storage import store as storage_module
from sweeps.storage.store import Storage
from sweeps.tracking.sources import waiting
from sweeps.tracking.sweep_run import SweepRun

FILE = """
name: acted
model: {{base: {base}}}
data: {{source: shapes, limit: 24, split: {{train: 0.5, validation: 0.25, test: 0.25}}}}
train: {{epochs: 6, batch_size: 8, learning_rate: 1e-3}}
evaluate: {{metrics: [exact_match], max_new_tokens: 4}}
guard: {{stop: false}}
search:
  space: {{train.learning_rate: {{log_uniform: [1e-6, 1e2]}}}}
  objective: {{metric: loss}}
schedule: {{name: fifo}}
"""
POINT = {"train.learning_rate": 1e-3}


@pytest.fixture
def context(untrained_base, address):
    folder = SweepFolder.create(places.working(address, places.DRIVER), "acted")
    return SweepContext(
        sweep=parse(FILE.format(base=untrained_base)), folder=folder, threads=1, storage=address,
    )  # fmt: skip


@pytest.fixture
def host(context):
    """Return a function that starts a host."""
    hosts = []

    def start(name):
        hosts.append(HostActor(context, name))
        return hosts[-1]

    yield start
    for each in hosts:
        each.shutdown()
    assert not [path for path in context.folder.root.parent.iterdir() if "@" in path.name]


def rungs(context):
    return [result.rung for result in record.latest(context.folder, "trial-000")]


def test_a_trial_goes_on_elsewhere_and_whoever_had_it_reports_no_more(context, host):
    lost, other = host("host-0"), host("host-1")
    assert lost.open(0, POINT, fencing_token="first") is None
    assert [lost.advance(0).rung for _ in range(2)] == [1, 2]
    assert other.open(0, POINT, fencing_token="second") is None
    assert other.advance(0).rung == 3
    assert "goes on on another host" in lost.advance(0).failed
    assert rungs(context) == [1, 2, 3]
    names = {path.name for path in copies.glob(context.folder.trial("trial-000"), "*")}
    assert names == {
        "rungs.jsonl", "opening", "artifacts", "best", "rung-001", "rung-002", "rung-003",
    }  # fmt: skip


def test_a_rung_whose_record_did_not_arrive_is_trained_again(context, host, monkeypatch):
    lost = host("host-0")
    assert lost.open(0, POINT) is None
    lost.advance(0)
    with monkeypatch.context() as patch:
        patch.setattr(copies, "push", _away)
        assert "every rung reported so far is kept" in lost.advance(0).disk_full
    assert rungs(context) == [1]
    other = host("host-1")
    assert other.open(0, POINT) is None
    assert other.advance(0).rung == 2
    assert rungs(context) == [1, 2]


def _away(path):
    raise storage_module.storage_error("s3://away", OSError("AWS Error NETWORK_CONNECTION"))


def test_a_store_that_stays_away_ends_the_sweep_and_not_the_trial(context, host, monkeypatch):
    actor = host("host-0")
    assert actor.open(0, POINT) is None

    def away(address):
        raise OSError("AWS Error NETWORK_CONNECTION during PutObject operation")

    with monkeypatch.context() as patch:
        patch.setattr(storage_module, "opened", away)
        patch.setattr(places, "Storage", partial(Storage, patience=0.0))
        result = actor.advance(0)
    assert result.failed is None
    assert f"cannot use {context.storage}: nothing answers" in result.disk_full
    assert f"sweeps resume {context.folder.sweep_id}" in result.disk_full


def test_what_hosts_put_on_record_reaches_mlflow_by_the_driver(context, host, tracking):
    run = SweepRun.open(
        replace(tracking, root=context.folder.root), context.folder.sweep_id, "name: acted", {}
    )
    actor = host("host-0")
    assert actor.open(0, POINT) is None
    actor.advance(0)
    actor.close(0)
    with run.publisher.running():
        until(lambda: run.trials() and not waiting(context.folder).count)
    (trial,) = run.trials()
    history = run.client.get_metric_history(trial.info.run_id, "val/loss")
    assert sorted(point.step for point in history) == [0, 1]
    assert len(run.client.list_artifacts(trial.info.run_id, "images")) == 8
    files = [file.path for file in run.client.list_artifacts(trial.info.run_id, "eval")]
    assert "eval/predictions.json" in files
    assert copies.holds(context.folder.acknowledged("trial-000"))  # for a driver elsewhere


def until(holds, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_plain_folder_has_no_copies(context):
    plain = SweepContext(**{**vars(context), "storage": None})
    assert plain.private("host-0") == plain
