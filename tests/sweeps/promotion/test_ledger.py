"""A ledger in a real store: entries, the alias after them, what is deleted by hand."""

from pathlib import Path

import pytest
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

from sweeps.promotion.ledger import Ledger, LedgerEntry, LedgerError


def draft(version, **more):
    fields = {"kind": "promotion", "version": version, "by": "ann", "why": "better", **more}
    return LedgerEntry(**fields)


def test_opening_and_looking_makes_nothing(store, client):
    before = len(client.search_experiments())
    ledger = Ledger.open(store, "nothing-yet")
    assert (ledger.head(), ledger.entries(), ledger.alias()) == (None, (), None)
    assert len(client.search_experiments()) == before


def test_a_move_is_entered_and_shown_by_the_alias(ledger, store):
    given = draft("2", evidence="run r, gate.json", run_id="r", approved_by="bob")
    first = ledger.change_champion(lambda head: given if head is None else None)
    second = ledger.change_champion(lambda head: draft("3") if head == first else None)

    assert ledger.entries() == (first, second)
    assert ledger.head() == second
    assert ledger.alias() == "3"
    assert (first.previous, first.version, second.previous, second.version) == (None, "2", "2", "3")
    assert (first.by, first.why, first.approved_by) == ("ann", "better", "bob")
    assert (first.evidence, first.run_id) == ("run r, gate.json", "r")
    assert first.at.endswith("+00:00")
    assert Ledger.open(store, ledger.model).entries() == (first, second)


def test_a_judge_that_declines_moves_nothing(ledger, promote):
    promote(ledger, "1")
    before = ledger.entries()
    assert ledger.change_champion(lambda head: None) is None
    assert (ledger.entries(), ledger.alias()) == (before, "1")


def test_the_loser_of_a_race_is_asked_again_about_the_new_champion(ledger, promote):
    promote(ledger, "1")
    seen = []

    def slow(head):
        seen.append(head.version)
        if len(seen) == 1:  # another promoter is faster
            promote(ledger, "2")
        return draft("3")

    entry = ledger.change_champion(slow)
    assert seen == ["1", "2"]
    assert (entry.previous, entry.version) == ("2", "3")
    assert [each.version for each in ledger.entries()] == ["1", "2", "3"]
    assert ledger.alias() == "3"


def test_an_alias_set_late_does_not_hide_a_newer_entry(ledger, promote):
    promote(ledger, "1")

    class Late(Ledger):
        """Is overtaken between its entry and its alias."""

        def head(self):
            head = super().head()
            if head.version == "2":
                promote(ledger, "3")
                assert ledger.alias() == "3"
            return head

    promote(Late(ledger.tracking, ledger.model), "2")
    assert [entry.version for entry in ledger.entries()] == ["1", "2", "3"]
    assert ledger.alias() == "3"


def test_the_loser_may_decline_the_new_champion(ledger, promote):
    def beaten(head):
        if head is None:
            promote(ledger, "2")
            return draft("1")
        return None

    assert ledger.change_champion(beaten) is None
    assert [each.version for each in ledger.entries()] == ["2"]
    assert ledger.alias() == "2"


def test_a_champion_of_an_earlier_release_is_the_first_entry(ledger, client):
    client.set_registered_model_alias(ledger.model, "champion", "1")
    assert ledger.head() is None
    entry = ledger.change_champion(lambda head: draft("2") if head.version == "1" else None)

    adopted, promoted = ledger.entries()
    assert (adopted.kind, adopted.version, adopted.previous) == ("adoption", "1", None)
    assert adopted.why == "had the alias champion before there was a ledger"
    assert adopted.run_id == client.get_model_version(ledger.model, "1").run_id
    assert promoted == entry
    assert entry.previous == "1"


@pytest.mark.parametrize(
    ("version", "said"),
    [("9", "has no version 9 to make the champion"), ("1", "version 1 is the champion already")],
)
def test_a_version_that_cannot_become_the_champion_is_refused(ledger, promote, version, said):
    promote(ledger, "1")
    with pytest.raises(LedgerError, match=f"{ledger.model} {said}"):
        ledger.change_champion(lambda head: draft(version))
    assert len(ledger.entries()) == 1


def test_a_long_reason_is_kept_whole_in_a_file(ledger, client):
    why = "because " * 2000
    entry = ledger.change_champion(lambda head: draft("1", why=why))
    assert ledger.head() == entry == entry.fitted()
    assert entry.why.endswith(f"[...] (all of it: {entry.reason_file})")
    place = client.download_artifacts(run_of(client, ledger), entry.reason_file)
    assert Path(place).read_text() == why


def test_the_store_itself_refuses_to_change_an_entry(ledger, client, promote):
    promote(ledger, "1")
    run_id = run_of(client, ledger)
    assert client.get_run(run_id).data.params.keys() == {"entry.000001"}
    with pytest.raises(MlflowException, match="not allowed"):
        client.log_param(run_id, "entry.000001", "{}")


def test_an_entry_damaged_from_outside_is_named(ledger, client, promote):
    promote(ledger, "1")
    client.log_param(run_of(client, ledger), "entry.000002", "hello")
    with pytest.raises(
        LedgerError, match=rf"ledger of {ledger.model} \(run .*: entry 2 is damaged"
    ):
        ledger.head()
    with pytest.raises(LedgerError, match="entry 2 is damaged"):
        promote(ledger, "2")


def test_a_ledger_that_is_deleted_meanwhile_takes_no_entry(ledger, client, promote):
    promote(ledger, "1")
    run_id = run_of(client, ledger)

    def judge(head):
        client.delete_run(run_id)
        return draft("2")

    with pytest.raises(LedgerError, match=rf"run {run_id} takes no entry: .*'active'.* deleted\.$"):
        ledger.change_champion(judge)
    client.restore_run(run_id)
    assert (ledger.head().version, ledger.alias()) == ("1", "1")


def test_a_deleted_ledger_names_the_command_that_restores_it(ledger, client, promote):
    promote(ledger, "1")
    experiment = client.get_experiment_by_name(f"ledger of {ledger.model}").experiment_id
    client.delete_experiment(experiment)
    for use in (ledger.head, lambda: promote(ledger, "2")):
        with pytest.raises(LedgerError, match=f"`mlflow experiments restore -x {experiment}`"):
            use()
    client.restore_experiment(experiment)
    promote(ledger, "2")
    assert [entry.version for entry in ledger.entries()] == ["1", "2"]


def test_a_deleted_run_of_a_ledger_names_the_command_that_restores_it(ledger, client, promote):
    promote(ledger, "1")
    run_id = run_of(client, ledger)
    experiment = client.get_experiment_by_name(f"ledger of {ledger.model}")
    client.delete_run(run_id)
    with pytest.raises(LedgerError, match=r"got 0; .*`mlflow runs restore --run-id ID`"):
        ledger.head()
    assert experiment.tags["ledger.run"] == run_id
    client.restore_run(run_id)
    assert ledger.head().version == "1"


def test_an_alias_that_cannot_be_set_is_an_error_and_the_entry_stays(ledger, client, promote):
    def judge(head):
        return draft("2")

    promote(ledger, "1")
    entered = ledger.change_champion(judge)
    client.delete_model_version(ledger.model, "2")
    with pytest.raises(LedgerError, match=rf"version 2 of .* `sweeps reconcile {ledger.model}`"):
        ledger.update_alias()
    assert ledger.head() == entered


def test_ledgers_of_two_models_do_not_mix(store, logged, register, ledger, promote):
    other = Ledger.open(store, f"{ledger.model}-other")
    register(logged, other.model)
    promote(ledger, "2")
    promote(other, "1")
    assert [entry.version for entry in ledger.entries()] == ["2"]
    assert [entry.version for entry in other.entries()] == ["1"]


def run_of(client, ledger):
    experiment = client.get_experiment_by_name(f"ledger of {ledger.model}")
    (run,) = client.search_runs([experiment.experiment_id], run_view_type=ViewType.ACTIVE_ONLY)
    assert run.info.status == "FINISHED"
    return run.info.run_id
