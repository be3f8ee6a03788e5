"""A registry with cheap versions: a model that answers with its input, registered many times."""

import contextlib
import io
import itertools
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from sweeps.promotion.ledger import Ledger, LedgerEntry
from sweeps.promotion.registry import global_store
from sweeps.tracking.client import Tracking

ECHO = """
import mlflow
class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: list[str]) -> list[str]:
        return model_input
mlflow.models.set_model(Echo())
"""


@pytest.fixture(scope="module")
def store(empty_store, tmp_path_factory):
    """A store for the tests of a module."""
    root = tmp_path_factory.mktemp("a folder") / "sweep-results"
    root.mkdir()
    shutil.copy(empty_store, root)
    return Tracking(uri=None, experiment="tested", root=root)


@pytest.fixture(scope="module")
def log(store, tmp_path_factory):
    """Return a function that stores a model of a new run: -> (its id, the run's)."""

    def make():
        import mlflow

        client, code = store.client(), tmp_path_factory.mktemp("code") / "echo.py"
        adapter = code.with_name("best")
        adapter.mkdir()
        (adapter / "adapter_config.json").write_text("{}")
        save_file({"weight": np.ones(9)}, adapter / "adapter_model.safetensors")
        code.write_text(ECHO)
        run = client.create_run(store.experiment_id())
        made = client.create_logged_model(
            run.info.experiment_id, name="echo", source_run_id=run.info.run_id
        )
        with global_store(store):
            mlflow.pyfunc.log_model(
                model_id=made.model_id, python_model=str(code), pip_requirements=[],
                artifacts={"adapter": str(adapter)},
            )  # fmt: skip
        return made.model_id, run.info.run_id

    return make


@pytest.fixture(scope="module")
def logged(log):
    """The id of a model, of which the versions are made where files do not matter."""
    return log()[0]


@pytest.fixture(scope="module")
def register(store):
    """Return a function: model id, name -> the new version."""

    def make(model_id, name):
        import mlflow

        said = io.StringIO()
        with global_store(store), contextlib.redirect_stderr(said):
            return str(mlflow.register_model(f"models:/{model_id}", name).version)

    return make


_numbers = itertools.count()


@pytest.fixture
def ledger(store, logged, register):
    """The ledger of a new model with four versions, none of which is the champion."""
    name = f"model-{next(_numbers)}"
    for _ in range(4):
        register(logged, name)
    return Ledger.open(store, name)


@pytest.fixture
def promote():
    """Return a function that makes versions of a ledger's model its champions in turn."""

    def moves(ledger, *versions, **more):
        for version in versions:
            fields = {"by": "ann", "why": f"{version} is better", **more}
            draft = LedgerEntry(kind="promotion", version=version, **fields)
            ledger.change_champion(lambda _, draft=draft: draft)

    return moves


@pytest.fixture
def client(store):
    """MLflow's client of the store."""
    return store.client()
