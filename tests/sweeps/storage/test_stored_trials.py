"""Hosts without Ray, each on a machine of its own, and a store between them."""

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
from sweeps.tracking.entries import batch
from sweeps.tracking.spool import SpoolFile
from sweeps.tracking.sweep_run import SweepRun
from sweeps.trial import FAILED, FULL

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
def context(tracking, untrained_base, address):
    folder = SweepFolder.create(places.working(address, places.DRIVER), "acted")
    run = SweepRun.open(tracking, folder.sweep_id, "name: acted", {})
    return SweepContext(
        sweep=parse(FILE.format(base=untrained_base)), folder=folder, tracking=tracking,
        parent_run_id=run.run_id, threads=1, storage=address,
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
    return [result["rung"] for result in record.latest(context.folder, "trial-000")]


def test_a_trial_goes_on_elsewhere_and_whoever_had_it_reports_no_more(context, host):
    lost, other = host("host-0"), host("host-1")
    assert lost.open(0, POINT, opening="first") is None
    assert [lost.advance(0)["rung"] for _ in range(2)] == [1, 2]
    assert other.open(0, POINT, opening="second") is None
    assert other.advance(0)["rung"] == 3
    assert "goes on on another host" in lost.advance(0)[FAILED]
    assert rungs(context) == [1, 2, 3]
    names = {path.name for path in copies.glob(context.folder.trial("trial-000"), "*")}
    assert names == {"rungs.jsonl", "opening", "best", "rung-001", "rung-002", "rung-003"}


def test_a_rung_whose_record_did_not_arrive_is_trained_again(context, host, monkeypatch):
    lost = host("host-0")
    assert lost.open(0, POINT) is None
    lost.advance(0)
    with monkeypatch.context() as patch:
        patch.setattr(copies, "push", _away)
        assert "every rung reported so far is kept" in lost.advance(0)[FULL]
    assert rungs(context) == [1]
    other = host("host-1")
    assert other.open(0, POINT) is None
    assert other.advance(0)["rung"] == 2
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
    assert result[FAILED] is None
    assert f"cannot use {context.storage}: nothing answers" in result[FULL]
    assert f"sweeps resume {context.folder.sweep_id}" in result[FULL]


def test_what_mlflow_was_not_told_survives_the_machine_of_the_host(context):
    own = context.private("host-0")
    assert own.folder.root != context.folder.root
    spool = SpoolFile(own.tracking.waiting / "trial-000")
    spool.append(batch(tags={"a": "b"}))
    copies.forget(own.folder.root)
    context.folder.refresh()
    (there, drivers) = context.folder.spools()
    assert drivers == context.folder.spool
    file = SpoolFile(there / "trial-000")
    with file.sending():
        ((end, entry),) = file.ends()
        file.advance(end)
    assert entry.values["tags"] == {"a": "b"}
    assert not [key for key in Storage(context.storage).files() if "trial-000" in key]


def test_a_plain_folder_has_no_copies(context):
    plain = SweepContext(**{**vars(context), "storage": None})
    assert plain.private("host-0") == plain
