"""What garbage collection would take from the registry is found, on a store of MLflow's own."""

import importlib
import sys
from pathlib import Path

import mlflow
import pytest

MLFLOW = Path(__file__).parent.parent.parent / "mlflow"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    root = tmp_path_factory.mktemp("store")
    address = f"sqlite:///{root / 'tracking.db'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", address)
        patch.chdir(root)
        yield mlflow.MlflowClient(address, address)


@pytest.fixture
def dangers(client, monkeypatch):
    """Return a function: what stands in the way of a collection, in words."""
    monkeypatch.syspath_prepend(str(MLFLOW))
    module = importlib.import_module("gc_check")
    yield lambda: list(module.dangers(client))
    for name in ("gc_check", "roles"):
        sys.modules.pop(name, None)


@pytest.fixture
def version(client, request):
    """Return a function: where from -> (name, run, model id) of a version registered from there."""
    made = []

    def make(place):
        name = f"{request.node.name}-{len(made)}"
        run = client.create_run(client.create_experiment(name, f"mlflow-artifacts:/{name}"))
        model = client.create_logged_model(
            run.info.experiment_id, name="m", source_run_id=run.info.run_id
        )
        client.finalize_logged_model(model.model_id, "READY")
        client.create_registered_model(name)
        sources = {"model": f"models:/{model.model_id}", "run": f"runs:/{run.info.run_id}/m"}
        client.create_model_version(
            name, sources[place], run_id=run.info.run_id, model_id=model.model_id
        )
        made.append(name)
        return name, run, model.model_id

    yield make
    for name in made:
        client.delete_registered_model(name)


def test_a_version_made_from_a_model_outlives_its_run(client, version, dangers):
    _, run, _ = version("model")
    client.delete_run(run.info.run_id)
    assert dangers() == []


def test_a_version_made_from_a_run_needs_that_run(client, version, dangers):
    name, run, _ = version("run")
    assert dangers() == []
    client.delete_run(run.info.run_id)
    assert dangers() == [
        f"{name} version 1 needs runs:/{run.info.run_id}/m: that run is deleted; "
        f"mlflow runs restore --run-id {run.info.run_id}"
    ]


@pytest.mark.parametrize("place", ["model", "run"])
def test_a_version_needs_the_experiment_that_holds_its_files(client, version, dangers, place):
    name, run, _ = version(place)
    client.delete_experiment(run.info.experiment_id)
    (danger,) = dangers()
    assert danger.startswith(f"{name} version 1 needs ")
    if place == "model":
        assert f"its experiment '{name}' is deleted" in danger
        assert f"mlflow experiments restore -x {run.info.experiment_id}" in danger


def test_a_version_needs_its_model(client, version, dangers):
    name, _, model_id = version("model")
    client.delete_logged_model(model_id)
    (danger,) = dangers()
    assert danger.startswith(f"{name} version 1 needs models:/{model_id}: it is gone or deleted")


def test_a_ledger_is_kept_and_one_that_never_was_is_not(client, dangers):
    begun = client.create_experiment("ledger of captioner (begun 1f)")
    client.delete_experiment(begun)
    assert dangers() == []
    ledger = client.create_experiment("ledger of captioner")
    client.delete_experiment(ledger)
    assert dangers() == [
        f"the experiment 'ledger of captioner' is deleted; mlflow experiments restore -x {ledger}"
    ]
