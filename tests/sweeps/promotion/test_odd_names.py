"""A registered model under any name that MLflow takes: registered once, found, promoted, shown."""

import shlex

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from sweeps import names
from sweeps.board.view import links
from sweeps.cli.app import app
from sweeps.promotion import registry
from sweeps.promotion.adapters import version_of
from sweeps.promotion.ledger import Ledger

ODD = ["it's", 'say "so"', "x' OR name LIKE '%", "a b; rm $HOME", "100%_`x`", "[red] ü"]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapter")
    (folder / "adapter_config.json").write_text("{}")
    save_file({"weight": np.ones(3)}, folder / "adapter_model.safetensors")
    return folder


@pytest.fixture(scope="module", params=ODD)
def model(request, store, logged, register):
    """The name of a model with two versions, beside one with all versions of another name."""
    register(logged, "plain")
    for _ in range(2):
        register(logged, request.param)
    return request.param


@pytest.fixture
def call(store, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return lambda *words: CliRunner().invoke(app, [*words, "--results", str(store.root)])


def test_an_adapter_is_registered_once(model, store, adapter):
    client, weights = store.client(), registry.digest_weights(adapter)
    for other in ("plain", model):
        client.set_model_version_tag(other, "1", registry.ADAPTER, weights)
    assert registry.register(store, "unused", adapter, None, model, {}) == 1
    assert int(client.get_registered_model(model).aliases["challenger"]) == 1


def test_its_versions_are_listed(model, store):
    with pytest.raises(ValueError, match=r"has versions 2, 1 and aliases "):
        version_of(store.client(), f"models:/{model}/7", "here")
    assert version_of(store.client(), f"models:/{model}/2", "here").version == 2


def test_its_history_is_kept_and_the_advice_is_one_command(model, store, call, promote):
    ledger = Ledger.open(store, model)
    promote(ledger, "1", "2")
    assert call("rollback", model).exit_code == 0
    store.client().delete_registered_model_alias(model, "champion")
    said = call("history", model).stdout
    assert len(said.splitlines()) == 5
    advice = said[said.index("`sweeps reconcile") + 1 : said.rindex("` sets it")]
    assert shlex.split(advice) == ["sweeps", "reconcile", model]
    assert call("reconcile", model).exit_code == 0
    assert ledger.alias() == "1"


def test_its_page_is_one_part_of_an_address(model):
    page = links("http://here", "1", "r", model).model
    name = page.removeprefix("http://here/#/models/").removesuffix("?workflowType=machine_learning")
    assert name.isascii()
    assert not set("'\"`[] ;?#/$") & set(name)


def test_another_name_is_refused_in_a_line(call):
    for command in (["history"], ["rollback"], ["reconcile"]):
        done = call(*command, "a/b'\"")
        assert isinstance(done.exception, ValueError)
        assert str(done.exception).startswith("no model a/b'\" is registered in sqlite:")


def test_names_that_no_filter_can_hold_are_found_by_their_alias(store, logged, register):
    both = "both ' and \""
    register(logged, both)
    store.client().set_registered_model_alias(both, "champion", "1")
    assert version_of(store.client(), f"models:/{both}@champion", "here").version == 1
    with pytest.raises(ValueError, match="MLflow cannot search for a value with both kinds"):
        names.equals("name", both)
