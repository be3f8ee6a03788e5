"""Reconciling: the alias is set to what the ledger says, and what was wrong is said."""

from sweeps import names
from sweeps.promotion.entries import LedgerError
from sweeps.promotion.ledger import Ledger
from sweeps.promotion.registry import CHAMPION


def reconcile(ledger: Ledger) -> str:
    """Set the alias to the ledger's newest entry where it is not, and return what was found.

    Raises `LedgerError` when the ledger's champion was deleted from the registry.
    """
    head, shown, model = ledger.head(), ledger.alias(), ledger.model
    if head is None:
        return _without_ledger(model, shown)
    if shown == head.version:
        return f"{model}@{CHAMPION} is version {shown}, as its ledger says"
    if not ledger.has(head.version):
        raise LedgerError(
            f"{model} version {head.version} is the champion by its ledger, but was deleted from "
            f"the registry; `{names.command('rollback', model)}` goes back to the one before"
        )
    known = {entry.version for entry in ledger.entries()}
    ledger.project()
    return f"{_astray(model, shown, known)}; set it to version {head.version}: {head.kind} by \
{head.by} at {head.at}"


def _without_ledger(model: str, shown: str | None) -> str:
    if shown is None:
        return f"{model} has neither a ledger nor a champion; there is nothing to reconcile"
    return (
        f"{model} has no ledger; its champion is version {shown} by the alias alone, and the next "
        "promotion begins the ledger with it"
    )


def _astray(model: str, shown: str | None, known: set[str]) -> str:
    """Say what is wrong with the alias."""
    if shown is None:
        return f"{model} had no alias {CHAMPION}"
    never = "" if shown in known else ", which was never promoted"
    return f"{model}@{CHAMPION} was version {shown}{never}"
