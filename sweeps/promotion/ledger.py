"""The ledger of a registered model: who made which version its champion, when and why.

The ledger is the truth; the alias ``champion`` only shows its newest entry to MLflow and can be
restored from it at any time. Every change goes through `Ledger.change_champion`: concurrent
processes take turns, and each decides on the champion that it replaces.

The entries are parameters of one run. MLflow accepts a parameter once and refuses another value
for it, also of a concurrent writer: that is the compare-and-set that the ledger needs and that
aliases do not have. The run is alone in an experiment whose name is unique.
"""

import json
import uuid
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from sweeps import names
from sweeps.promotion.registry import CHAMPION, get_or_none
from sweeps.tracking.client import Tracking, find_runs, user

MAX_CHARACTERS = 6000
"""Limit of an entry as text; MLflow silently truncates longer parameters."""
_KEY = "entry."
_KIND = "ledger"
"""Tag of the run that holds the ledger."""


class LedgerError(ValueError):
    """A ledger cannot be read, or cannot be written as requested."""


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """One change of the champion; the ledger sets `previous`, `at` and `id`.

    An adoption names the version that was the champion before there was a ledger.
    """

    kind: Literal["adoption", "promotion", "rollback"]
    version: str
    """The version of the model that becomes the champion."""
    by: str
    """The person who changes it."""
    why: str
    evidence: str | None = None
    """Address of the evidence."""
    run_id: str | None = None
    """The run in which the version was trained."""
    approved_by: str | None = None
    previous: str | None = None
    """The champion before; None when there was none."""
    at: str = ""
    """Time in UTC, such as ``2026-03-01T14:05:12+00:00``."""
    id: str = ""
    """Distinguishes the entry from one of another process with the same content."""

    def to_json(self) -> str:
        """Return the entry as text."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @property
    def reason_file(self) -> str:
        """The artifact of the ledger's run that holds a reason too long for the entry."""
        return f"why/{self.id}.txt"

    def fitted(self) -> "LedgerEntry":
        """Return the entry with as much of its reason as fits, and a mark where it is cut.

        Raises `LedgerError` when it does not fit even without a reason.
        """
        if len(self.to_json()) <= MAX_CHARACTERS:
            return self

        def cut(length: int) -> LedgerEntry:
            return replace(self, why=f"{self.why[:length]} [...] (all of it: {self.reason_file})")

        def characters(length: int) -> int:
            return len(cut(length).to_json())

        fits = bisect_right(range(len(self.why)), MAX_CHARACTERS, key=characters)
        if not fits:
            raise LedgerError(
                f"an entry must have at most {MAX_CHARACTERS} characters, got "
                f"{characters(0)} without its reason: shorten 'by', 'evidence' or 'approved_by'"
            )
        return cut(fits - 1)


_ENTRY = TypeAdapter(LedgerEntry)


def read_chain(values: Mapping[int, str], ledger: str) -> tuple[LedgerEntry, ...]:
    """Return the entries in the order of their numbers, which begin at 1.

    Raises `LedgerError`, naming `ledger` and the entry, when one is missing, damaged or does not
    follow from the one before.
    """
    entries: list[LedgerEntry] = []
    for number in range(1, max(values, default=0) + 1):
        place = f"{ledger}: entry {number}"
        if number not in values:
            raise LedgerError(f"{place} is missing, although there are later ones")
        try:
            entry = _ENTRY.validate_json(values[number])
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"])) or "the entry"
            raise LedgerError(f"{place} is damaged: {field}: {first['msg']}") from None
        if not (entry.at and entry.id):
            raise LedgerError(f"{place} is damaged: at, id: Field required")
        if entries and entry.previous != entries[-1].version:
            raise LedgerError(
                f"{place} says that version {entry.previous} was the champion before, but entry "
                f"{number - 1} made it version {entries[-1].version}"
            )
        entries.append(entry)
    return tuple(entries)


@dataclass(frozen=True)
class Ledger:
    """The ledger of one model; the first entry creates it in MLflow."""

    tracking: Tracking
    """The store, with the ledger's own experiment."""
    model: str

    @classmethod
    def open(cls, tracking: Tracking, model: str) -> "Ledger":
        """Return the ledger of `model` in the store and registry of `tracking`."""
        return cls(replace(tracking, experiment=f"ledger of {model}"), model)

    def entries(self) -> tuple[LedgerEntry, ...]:
        """Return all entries, the oldest first; raises `LedgerError` for a damaged ledger."""
        run_id = self._run()
        return () if run_id is None else self._read(run_id)

    def head(self) -> LedgerEntry | None:
        """Return the newest entry, whose version is the champion; None while there is none."""
        return next(reversed(self.entries()), None)

    def champion(self) -> LedgerEntry | None:
        """Return the newest entry or, before there is a ledger, one for the alias' version."""
        return self.head() or self._adoption()

    def alias(self) -> str | None:
        """Return the version that the alias names; None when there is no alias or no model."""
        found = get_or_none(self.tracking.client().get_model_version_by_alias, self.model, CHAMPION)
        return str(found.version) if found else None

    def has_version(self, version: str) -> bool:
        """Tell whether the registry has that version of the model."""
        get = self.tracking.client().get_model_version
        return get_or_none(get, self.model, version) is not None

    def change_champion(
        self, decide: Callable[[LedgerEntry | None], LedgerEntry | None]
    ) -> LedgerEntry | None:
        """Append the entry that `decide` returns for the newest one; None changes nothing.

        `decide` is called again, with the new head, when another process was faster. The first
        entry of a model that has a champion already names that one. Returns the entry as written.
        Raises `LedgerError` for a version that cannot become the champion, and when the alias
        could not be set.
        """
        client, run_id = self.tracking.client(), self._run() or self._create_run()
        while True:
            entries = self._read(run_id)
            head = entries[-1] if entries else None
            adoption = None if head else self._adoption()
            entry = adoption or decide(head)
            if entry is None:
                return None
            entry = replace(
                entry,
                previous=head.version if head else None,
                at=datetime.now(UTC).isoformat(timespec="seconds"),
                id=uuid.uuid4().hex,
            )
            if entry.version == entry.previous:
                raise LedgerError(f"{self.model} version {entry.version} is the champion already")
            if not self.has_version(entry.version):
                reason = f"has no version {entry.version} to make the champion"
                raise LedgerError(f"{self.model} {reason}")
            fitted = entry.fitted()
            if fitted != entry:  # first, so that no entry names a missing file
                client.log_text(run_id, entry.why, entry.reason_file)
            if self._append(run_id, len(entries) + 1, fitted) and not adoption:
                self.update_alias()
                return fitted

    def update_alias(self) -> None:
        """Set the alias to the newest entry's version; raises `LedgerError` if that fails.

        Another process may set it to an older version in between, but then sees the newer entry
        as well: the last one to read leaves the alias right.
        """
        client, shown = self.tracking.client(), None
        from mlflow.exceptions import MlflowException

        while (head := self.head()) != shown and head is not None:
            try:
                client.set_registered_model_alias(self.model, CHAMPION, head.version)
            except MlflowException as error:
                raise LedgerError(
                    f"version {head.version} of {self.model} is the champion by its ledger, but "
                    f"the alias could not be set ({error.message}); "
                    f"`{names.command('reconcile', self.model)}` sets it"
                ) from error
            shown = head

    def _adoption(self) -> LedgerEntry | None:
        """Return the entry for a champion from before the ledger; None when there is none."""
        version = self.alias()
        if version is None:
            return None
        trained = self.tracking.client().get_model_version(self.model, version).run_id
        why, run_id = f"had the alias {CHAMPION} before there was a ledger", trained or None
        return LedgerEntry(kind="adoption", version=version, by=user(), why=why, run_id=run_id)

    def _run(self) -> str | None:
        """Return the id of the ledger's run, if there is one; raises `LedgerError` if deleted."""
        client, name = self.tracking.client(), self.tracking.experiment
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            return None
        if experiment.lifecycle_stage == "deleted":
            raise LedgerError(
                f"the experiment {name!r} was deleted in {self.tracking.address}; restore it "
                f"with `mlflow experiments restore -x {experiment.experiment_id}`"
            )
        runs = find_runs(client, experiment.experiment_id, names.equals(names.tag(_KIND), "true"))
        if len(runs) != 1:
            raise LedgerError(
                f"the experiment {name!r} in {self.tracking.address} must have one run with the "
                f"tag {_KIND!r}, got {len(runs)}; `mlflow runs restore --run-id ID` restores a "
                "deleted one, the ID is the experiment's tag ledger.run"
            )
        return str(runs[0].info.run_id)

    def _create_run(self) -> str:
        """Create the ledger's run, or return that of a process that was faster.

        Run and experiment get a name of their own, and renaming the experiment publishes both:
        names are unique, so one of several concurrent processes succeeds, and none ever sees an
        experiment without its run.
        """
        client, name = self.tracking.client(), self.tracking.experiment
        from mlflow.exceptions import MlflowException

        draft = replace(self.tracking, experiment=f"{name} (begun {uuid.uuid4().hex})")
        experiment_id = draft.experiment_id()
        note = (
            f"The ledger of the registered model **{self.model}**: its parameters are the changes "
            f"of its champion, in order. `{names.command('history', self.model)}` shows them. Keep "
            "this run."
        )
        tags = {_KIND: "true", "mlflow.note.content": note}
        run_id = client.create_run(experiment_id, run_name=name, tags=tags).info.run_id
        client.set_terminated(run_id)
        client.set_experiment_tag(experiment_id, "ledger.run", run_id)
        refused = None
        try:
            client.rename_experiment(experiment_id, name)
        except MlflowException as error:
            refused = error
            client.delete_experiment(experiment_id)
        found = self._run()
        if found is None:
            where = f"{name!r} in {self.tracking.address}"
            raise LedgerError(f"cannot make the experiment {where}") from refused
        return found

    def _read(self, run_id: str) -> tuple[LedgerEntry, ...]:
        place = f"{self.tracking.experiment} (run {run_id} in {self.tracking.address})"
        return read_chain(_values(self.tracking.client(), run_id), place)

    def _append(self, run_id: str, number: int, entry: LedgerEntry) -> bool:
        """Write entry `number`; return False when another process was first."""
        client, value = self.tracking.client(), entry.to_json()
        from mlflow.exceptions import MlflowException

        try:
            client.log_param(run_id, f"{_KEY}{number:06d}", value, synchronous=True)
        except MlflowException as error:
            # Refused, or written although the answer was lost: the stored value decides.
            kept = _values(client, run_id).get(number)
            if kept is None:
                reason = error.message.splitlines()[0]
                raise LedgerError(f"run {run_id} takes no entry: {reason}") from error
            return kept == value
        return True


def _values(client: Any, run_id: str) -> dict[int, str]:
    """Return number -> text of all entries; numbers begin at 1."""
    return {
        int(key.removeprefix(_KEY)): value
        for key, value in client.get_run(run_id).data.params.items()
        if key.startswith(_KEY) and key.removeprefix(_KEY).isdecimal()
    }
