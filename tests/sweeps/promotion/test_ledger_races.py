"""Several processes and one ledger; a process that is killed in between."""

import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from mlflow.entities import ViewType

from benchmarks import promoters
from sweeps.promotion.rollback import reconcile
from sweeps.tracking.client import Tracking

DIES_BEFORE_THE_ALIAS = """
import os, signal, sys
from pathlib import Path
from sweeps.promotion.ledger import Ledger, LedgerEntry
from sweeps.tracking.client import Tracking

Ledger.update_alias = lambda self: os.kill(os.getpid(), signal.SIGKILL)
store = Tracking(uri=None, experiment="tested", root=Path(sys.argv[1]))
draft = LedgerEntry(kind="promotion", version="2", by="zoe", why="better")
Ledger.open(store, sys.argv[2]).change_champion(lambda head: draft)
"""


def test_three_promoters_at_once_lose_and_reorder_nothing(empty_store, tmp_path):
    shutil.copy(empty_store, tmp_path)
    store = Tracking(uri=None, experiment="tested", root=tmp_path)
    found = promoters.contest(store, promoters=3, rounds=3)

    assert (found.entries, found.lost, found.breaks, found.astray) == (9, 0, 0, 0)
    assert found.sound
    assert len({done.entry.id for done in found.promotions}) == 9
    # They did meet: some judge was asked again about a champion that was not there before.
    assert any(len(done.judged) > 1 for done in found.promotions)
    # The first round made the ledger in three processes at once: one is left, and no half of one.
    active = store.client().search_experiments(view_type=ViewType.ACTIVE_ONLY)
    assert {each.name for each in active} == {"Default", f"ledger of {promoters.MODEL}"}


@pytest.mark.parametrize("fault", ["lost", "order", "alias"])
def test_the_look_at_a_contest_sees_what_is_wrong(store, ledger, promote, client, fault):
    """The figures of the test above can be other than zero."""
    name, promoters.MODEL = promoters.MODEL, ledger.model
    try:
        promote(ledger, "1", "2")
        one, other = (
            promoters.Promotion(entry=entry, judged=(entry.previous,), seconds=0.0)
            for entry in ledger.entries()
        )
        found = promoters.Found("sqlite", [one, other])
        promoters._look(store, found)
        assert found.sound
        if fault == "alias":
            client.set_registered_model_alias(ledger.model, "champion", "1")
        if fault == "lost":
            unknown = replace(one, entry=replace(one.entry, id="x"), judged=())
            found.promotions.append(unknown)
        if fault == "order":
            experiment = client.get_experiment_by_name(f"ledger of {ledger.model}")
            (run,) = client.search_runs([experiment.experiment_id])
            first = run.data.params["entry.000001"]
            client.log_param(run.info.run_id, "entry.000003", first)
        promoters._look(store, found)
        assert not found.sound
        assert (found.lost, found.breaks, found.astray) == {
            "lost": (1, 0, 0), "order": (0, 1, 1), "alias": (0, 0, 1),
        }[fault]  # fmt: skip
    finally:
        promoters.MODEL = name


def test_a_kill_between_entry_and_alias_is_repaired(ledger, store, promote):
    promote(ledger, "1")
    command = [sys.executable, "-c", DIES_BEFORE_THE_ALIAS, str(store.root), ledger.model]
    killed = subprocess.run(command, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()

    assert (ledger.head().version, ledger.alias()) == ("2", "1")
    assert "champion was version 1; set it to version 2: promotion by zoe at" in reconcile(ledger)
    assert ledger.alias() == "2"
    assert [entry.version for entry in ledger.entries()] == ["1", "2"]
