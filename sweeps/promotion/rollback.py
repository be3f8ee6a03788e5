"""Rollback to an earlier champion, and repair of the alias from the ledger."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from sweeps import names
from sweeps.promotion.ledger import Ledger, LedgerEntry, LedgerError
from sweeps.promotion.registry import CHAMPION, check_adapter, global_store
from sweeps.tracking.client import Tracking, user


def roll_back(
    ledger: Ledger, *, to: str | None = None, why: str | None = None, by: str | None = None
) -> tuple[LedgerEntry, list[str]]:
    """Make `to` the champion, else the last other version that has not been rolled back.

    Returns the entry, and the versions that were skipped because they were deleted. Raises
    `LedgerError` when there is no such version, when its files are gone, and when the champion
    changes meanwhile: of two people who roll back the same version, one succeeds.
    """
    entries, model = ledger.entries(), ledger.model
    if not entries:
        raise LedgerError(f"{model} has no ledger: nothing was promoted that could go back")
    champion, former = entries[-1].version, dict.fromkeys(entry.version for entry in entries)
    skipped: list[str] = []
    if to is None:
        for version in reversed(active_versions(entries)):
            if version == champion:
                continue
            if ledger.has_version(version):
                to = version
                break
            skipped.append(version)
        else:
            deleted = "".join(f"; version {version} was deleted" for version in skipped)
            raise LedgerError(
                f"{model} has no version before {champion} to go back to{deleted}; "
                f"`{names.command('history', model)}` shows all, --to names one that was rolled "
                "back"
            )
    elif to not in former:
        raise LedgerError(
            f"--to must be a version that was the champion of {model} ({', '.join(former)}), got "
            f"{to}; a new one becomes it by `sweeps promote`"
        )
    elif to == champion:
        raise LedgerError(f"{model} version {to} is the champion already")
    elif not ledger.has_version(to):
        raise LedgerError(f"{model} version {to} was deleted from the registry")
    check_files(ledger.tracking, model, to)
    known = next(entry for entry in reversed(entries) if entry.version == to)
    draft = LedgerEntry(
        kind="rollback",
        version=to,
        by=by or user(),
        why=why or "no reason given",
        evidence=known.evidence,
        run_id=known.run_id,
    )

    def decide(head: LedgerEntry | None) -> LedgerEntry:
        if head != entries[-1]:
            now = f"to version {head.version} by {head.by}" if head else "away"
            raise LedgerError(
                f"the champion of {model} moved {now} meanwhile, so nothing was rolled back; "
                f"look at `{names.command('history', model)}`"
            )
        return draft

    entry = ledger.change_champion(decide)
    assert entry is not None  # `decide` never declines
    return entry, skipped


def active_versions(entries: Sequence[LedgerEntry]) -> list[str]:
    """Return the versions that have not been rolled back, the champion last.

    A version that was rolled back counts again only when it is promoted again, or when a
    rollback names it.
    """
    stack: list[str] = []
    for entry in entries:
        if entry.kind == "rollback" and entry.version in stack:
            last = len(stack) - stack[::-1].index(entry.version)
            stack = [version for version in stack[:last] if version != entry.previous]
        else:
            stack.append(entry.version)
    return stack


def reconcile(ledger: Ledger) -> str:
    """Set the alias to the ledger's newest entry if it differs; return a description.

    Raises `LedgerError` when the ledger's champion was deleted from the registry.
    """
    entries, alias, model = ledger.entries(), ledger.alias(), ledger.model
    if not entries:
        if alias is None:
            return f"{model} has neither a ledger nor a champion; there is nothing to reconcile"
        return (
            f"{model} has no ledger; its champion is version {alias} by the alias alone, and the "
            "next promotion begins the ledger with it"
        )
    head = entries[-1]
    if alias == head.version:
        return f"{model}@{CHAMPION} is version {alias}, as its ledger says"
    if not ledger.has_version(head.version):
        raise LedgerError(
            f"{model} version {head.version} is the champion by its ledger, but was deleted from "
            f"the registry; `{names.command('rollback', model)}` goes back to the one before"
        )
    ledger.update_alias()
    known = alias in {entry.version for entry in entries}
    found = f"{model}@{CHAMPION} was version {alias}{'' if known else ', which was never promoted'}"
    if alias is None:
        found = f"{model} had no alias {CHAMPION}"
    return f"{found}; set it to version {head.version}: {head.kind} by {head.by} at {head.at}"


def check_files(tracking: Tracking, model: str, version: str) -> None:
    """Fetch a version as MLflow would to load it, and read its parts, but not the base.

    It takes seconds, also on a machine too small for the base. Raises `LedgerError` when
    something is missing or truncated.
    """
    tracking.client()  # quiet, before the first import
    from mlflow.artifacts import download_artifacts
    from mlflow.models import Model
    from safetensors import safe_open

    with TemporaryDirectory() as temporary, global_store(tracking):
        try:
            folder = Path(download_artifacts(f"models:/{model}/{version}", dst_path=temporary))
            flavor = Model.load(str(folder)).flavors["python_function"]
            artifacts = flavor.get("artifacts", {})
            parts = [flavor.get("code"), *(each["path"] for each in artifacts.values())]
            if flavor.get("model_code_path"):  # where it was when it was logged
                parts.append(Path(flavor["model_code_path"]).name)
            for part in filter(None, parts):
                if not (folder / part).exists():
                    raise FileNotFoundError(f"{part} is missing")
            if "adapter" in artifacts:
                check_adapter(folder / artifacts["adapter"]["path"])
            for weights in sorted(folder.rglob("*.safetensors")):
                with safe_open(weights, framework="numpy"):  # refuses a truncated file
                    pass
        except Exception as error:  # each kind of artifact store raises errors of its own
            raise LedgerError(
                f"the files of {model} version {version} cannot be read, so it cannot be loaded: "
                f"{str(error).strip() or type(error).__name__}"
            ) from error
