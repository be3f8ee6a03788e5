"""The ledger of a registered model: who made which version its champion, when and why.

An entry decides; the alias ``champion`` only shows the newest entry to MLflow and can be set
anew from it at any time. Every change goes through `Ledger.move`: several processes at once
queue up one after the other, and each decides on the champion that it replaces.
"""

import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sweeps import names
from sweeps.promotion import write_once
from sweeps.promotion.entries import Draft, Entry, LedgerError, chain, fitting, reason_file, write
from sweeps.promotion.registry import CHAMPION
from sweeps.tracking.client import Tracking, user

Judge = Callable[[Entry | None], Draft | None]
"""Head of the ledger -> what to write, or None to leave the champion as it is."""


@dataclass(frozen=True)
class Ledger:
    """The ledger of one model. In MLflow it is made by the first entry."""

    tracking: Tracking
    """The store; its experiment is the ledger's own."""
    model: str

    @classmethod
    def open(cls, tracking: Tracking, model: str) -> "Ledger":
        """Return the ledger of `model` in the store and registry of `tracking`."""
        return cls(replace(tracking, experiment=f"ledger of {model}"), model)

    def head(self) -> Entry | None:
        """Return the newest entry; its version is the champion. None while there is none."""
        return next(reversed(self.entries()), None)

    def entries(self) -> tuple[Entry, ...]:
        """Return all entries, the oldest first.

        Raises `LedgerError` when the ledger was deleted, or names the entry that is damaged.
        """
        run_id = write_once.find(self.tracking)
        return () if run_id is None else self._read(run_id)

    def move(self, judge: Judge) -> Entry | None:
        """Change the champion as `judge` decides and return the entry; None when it declines.

        `judge` is asked again, with the new head, when another process was faster. The first
        entry of a model that has a champion already names that one. Raises `LedgerError` for a
        version that cannot become the champion, and when the alias could not be set.
        """
        run_id = write_once.make(self.tracking, _note(self.model))
        while True:
            entries = self._read(run_id)
            if not entries and self._adopt(run_id):
                continue
            head = entries[-1] if entries else None
            draft = judge(head)
            if draft is None:
                return None
            entry = self._entry(draft, head)
            if self._append(run_id, len(entries) + 1, entry):
                self.project()
                return fitting(entry)

    def project(self) -> Entry | None:
        """Set the alias to the newest entry's version, and return that entry.

        Another process may set it to an older version in between, but then sees the newer entry
        as well: the last one to look leaves the alias right. Raises `LedgerError`.
        """
        shown = None
        while (head := self.head()) != shown and head is not None:
            self._set_alias(head)
            shown = head
        return shown

    def alias(self) -> str | None:
        """Return the version that the alias names; None when there is no alias or no model."""
        from mlflow.exceptions import MlflowException

        try:
            return str(self._client.get_model_version_by_alias(self.model, CHAMPION).version)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def has(self, version: str) -> bool:
        """Say whether the registry has that version of the model."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.get_model_version(self.model, version)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        return True

    @property
    def _client(self) -> Any:
        return self.tracking.client()

    def _read(self, run_id: str) -> tuple[Entry, ...]:
        place = f"{self.tracking.experiment} (run {run_id} in {self.tracking.address})"
        return chain(write_once.values(self._client, run_id), place)

    def _adopt(self, run_id: str) -> bool:
        """Enter the champion of before the ledger; return whether there is one."""
        version = self.alias()
        if version is None:
            return False
        trained = self._client.get_model_version(self.model, version).run_id
        why = f"had the alias {CHAMPION} before there was a ledger"
        draft = Draft(kind="adoption", version=version, by=user(), why=why, run_id=trained or None)
        self._append(run_id, 1, self._entry(draft, None))
        return True

    def _entry(self, draft: Draft, head: Entry | None) -> Entry:
        previous = head.version if head else None
        if draft.version == previous:
            raise LedgerError(f"{self.model} version {previous} is the champion already")
        if not self.has(draft.version):
            raise LedgerError(f"{self.model} has no version {draft.version} to make the champion")
        at = datetime.now(UTC).isoformat(timespec="seconds")
        return Entry(**asdict(draft), previous=previous, at=at, id=uuid.uuid4().hex)

    def _append(self, run_id: str, number: int, entry: Entry) -> bool:
        short = fitting(entry)
        if short != entry:  # first, so that no entry names a file that is not there
            self._client.log_text(run_id, entry.why, reason_file(entry))
        return write_once.append(self._client, run_id, number, write(short))

    def _set_alias(self, head: Entry) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.set_registered_model_alias(self.model, CHAMPION, head.version)
        except MlflowException as error:
            raise LedgerError(
                f"version {head.version} of {self.model} is the champion by its ledger, but the "
                f"alias could not be set ({error.message}); "
                f"`{names.command('reconcile', self.model)}` sets it"
            ) from error


def _note(model: str) -> str:
    return (
        f"The ledger of the registered model **{model}**: its parameters are the changes of its "
        f"champion, in order. `{names.command('history', model)}` shows them. Keep this run."
    )
