"""`mlflow gc` beside a champion, run for real."""

import os
import subprocess
import sys

import pytest

from sweeps.promotion.ledger import Ledger, LedgerError
from sweeps.promotion.registry import global_store
from sweeps.promotion.rollback import check_files, roll_back


def collect(store):
    """Delete for good what was deleted."""
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", store.address],
        env={**os.environ, "MLFLOW_TRACKING_URI": store.address},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_champion_outlives_its_run(store, client, log, register, promote):
    import mlflow

    (model_id, run_id), (next_id, _) = log(), log()
    ledger = Ledger.open(store, "kept")
    register(model_id, "kept")
    register(next_id, "kept")
    promote(ledger, "1", "2")
    client.delete_run(run_id)
    assert run_id in collect(store)
    assert run_id not in {run.info.run_id for run in client.search_runs([store.experiment_id()])}

    check_files(store, "kept", "1")
    assert roll_back(ledger)[0].version == "1"
    with global_store(store):
        champion = mlflow.pyfunc.load_model("models:/kept@champion")
    assert champion.predict(["a caption"]) == ["a caption"]
    assert [entry.version for entry in ledger.entries()] == ["1", "2", "1"]


def test_a_model_that_was_deleted_itself_is_missed_by_the_rollback(
    store, client, log, register, promote
):
    (model_id, _), (next_id, _) = log(), log()
    ledger = Ledger.open(store, "deleted")
    register(model_id, "deleted")
    register(next_id, "deleted")
    promote(ledger, "1", "2")
    client.delete_logged_model(model_id)
    collect(store)
    with pytest.raises(LedgerError, match="the files of deleted version 1 cannot be read"):
        roll_back(ledger)
    assert ledger.alias() == "2"
