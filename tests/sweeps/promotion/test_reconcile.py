"""The alias after a crash, or after somebody has set it by hand."""

import pytest

from sweeps.promotion.ledger import LedgerError
from sweeps.promotion.rollback import reconcile


def test_an_alias_where_it_should_be_stays(ledger, promote):
    promote(ledger, "1")
    assert reconcile(ledger) == f"{ledger.model}@champion is version 1, as its ledger says"


@pytest.mark.parametrize(
    ("by_hand", "said"),
    [("1", "was version 1; set it"), ("4", "was version 4, which was never promoted; set it")],
)
def test_an_alias_that_was_set_by_hand_is_set_back(ledger, client, promote, by_hand, said):
    promote(ledger, "1", "2")
    client.set_registered_model_alias(ledger.model, "champion", by_hand)
    assert f"@champion {said} to version 2: promotion by ann at 20" in reconcile(ledger)
    assert (ledger.alias(), len(ledger.entries())) == ("2", 2)


def test_an_alias_that_was_taken_away_comes_back(ledger, client, promote):
    promote(ledger, "1")
    client.delete_registered_model_alias(ledger.model, "champion")
    assert reconcile(ledger).startswith(f"{ledger.model} had no alias champion; set it to version")
    assert ledger.alias() == "1"


def test_without_a_ledger_nothing_is_changed(ledger, client):
    assert "neither a ledger nor a champion" in reconcile(ledger)
    client.set_registered_model_alias(ledger.model, "champion", "3")
    assert "its champion is version 3 by the alias alone" in reconcile(ledger)
    assert (ledger.alias(), ledger.entries()) == ("3", ())


def test_a_champion_that_was_deleted_is_an_error(ledger, client, promote):
    promote(ledger, "1", "2")
    client.delete_model_version(ledger.model, "2")
    assert ledger.alias() is None  # MLflow takes the aliases of a deleted version away
    with pytest.raises(LedgerError, match=rf"was deleted .* `sweeps rollback {ledger.model}`"):
        reconcile(ledger)
