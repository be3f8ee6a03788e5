"""History, rollback and reconcile as a person calls them."""

import json

import pytest
from typer.testing import CliRunner

from sweeps.cli.app import app
from sweeps.promotion.ledger import Ledger


@pytest.fixture
def call(store, monkeypatch):
    """Return a function that calls the command line: -> what is printed, or the error raised."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def sweeps(*arguments, results=store.root):
        done = CliRunner().invoke(app, [*arguments, "--results", str(results)])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.stdout

    return sweeps


def test_history_shows_every_change_the_newest_first(call, ledger, promote):
    promote(ledger, "1", why="CIDEr +0.12 [0.05, 0.19]", evidence="run a, gate.json")
    promote(ledger, "2", by="zoe", approved_by="bob")
    call("rollback", ledger.model, "--why", "captions in capitals", "--by", "eve")

    lines = call("history", ledger.model).splitlines()
    assert " ".join(lines[0].split()) == "when (UTC) what from to by approved by why evidence"
    assert [" ".join(line.split()[2:]) for line in lines[1:]] == [
        "rollback 2 1 eve - captions in capitals run a, gate.json",
        "promotion 1 2 zoe bob 2 is better -",
        "promotion - 1 ann - CIDEr +0.12 [0.05, 0.19] run a, gate.json",
    ]


def test_history_as_json_is_all_that_is_known(call, ledger, client, promote):
    promote(ledger, "1", "2")
    client.set_registered_model_alias(ledger.model, "champion", "4")
    read = json.loads(call("history", ledger.model, "--json"))
    assert (read["model"], read["champion"]) == (ledger.model, "4")
    assert [entry["version"] for entry in read["entries"]] == ["1", "2"]
    assert read["entries"][1] == vars(ledger.head())


def test_history_warns_when_the_alias_is_elsewhere(call, ledger, client, promote):
    assert call("history", ledger.model) == f"{ledger.model} has no ledger yet\n"
    promote(ledger, "1")
    assert "alias" not in call("history", ledger.model)
    client.set_registered_model_alias(ledger.model, "champion", "4")
    said = call("history", ledger.model).splitlines()[-1]
    assert said == (
        "the alias champion is version 4, and not version 1; "
        f"`sweeps reconcile {ledger.model}` sets it"
    )
    assert "set it to version 1" in call("reconcile", ledger.model)
    assert ledger.alias() == "1"


def test_rollback_prints_what_it_did(call, ledger, client, promote):
    promote(ledger, "1", "2", "3")
    client.delete_model_version(ledger.model, "2")
    assert call("rollback", ledger.model).splitlines() == [
        "version 2 was deleted and is skipped",
        f"version 1 is the champion again, in place of version 3: models:/{ledger.model}@champion",
    ]
    assert ledger.head().why == "no reason given"
    call("rollback", ledger.model, "--to", "3")
    assert ledger.alias() == "3"


@pytest.mark.parametrize("command", ["history", "rollback", "reconcile"])
def test_an_unknown_model_is_an_error_that_lists_the_known_ones(call, store, ledger, command):
    with pytest.raises(ValueError, match=rf"no model nothing is .*models .*{ledger.model}"):
        call(command, "nothing")
    assert Ledger.open(store, "nothing").entries() == ()


def test_a_renamed_model_takes_its_history_along(call, store, ledger, client, promote):
    promote(ledger, "1", "2")
    new = f"{ledger.model}-renamed"
    client.rename_registered_model(ledger.model, new)
    assert "promotion" in call("history", ledger.model)
    with pytest.raises(ValueError, match=r"no model .* deleted or renamed, .* is renamed, too"):
        call("rollback", ledger.model)

    experiment = client.get_experiment_by_name(f"ledger of {ledger.model}")
    client.rename_experiment(experiment.experiment_id, f"ledger of {new}")
    call("rollback", new)
    assert [entry.version for entry in Ledger.open(store, new).entries()] == ["1", "2", "1"]
    assert Ledger.open(store, new).alias() == "1"


def test_without_a_store_there_is_nothing_to_look_at(call, tmp_path):
    with pytest.raises(FileNotFoundError, match="no model is registered in"):
        call("history", "m", results=tmp_path / "none")
    assert not (tmp_path / "none").exists()
