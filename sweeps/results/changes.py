"""The fields of a sweep that may change when it is resumed: the scores so far stay comparable."""

from collections.abc import Iterable
from itertools import count
from typing import Any

from search_spaces.issues import Issue, show
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import SPACE, Sweep, dump, load
from sweeps.spec.problems import SpecError, refuse_any
from sweeps.spec.yaml_file import OVERRIDE

CHANGEABLE = (
    "search.trials", "search.sampler", "search.space", "search.budget", "schedule", "resources",
    "disk", "promote", "storage", "evaluate.batch_size", "train.activation_checkpointing",
)  # fmt: skip
"""Fields, and sections with all their fields. The study checks whether it can continue
with another space."""

_REASONS = {
    "name": "it is the sweep's name everywhere",
    "tracking": "the runs of its trials are there",
}
_COMPARABLE = "trials before and after could not be compared"


def changed(folder: SweepFolder, trials: str | None, overrides: Iterable[str]) -> Sweep:
    """Return an earlier sweep with more `trials` (``+20``, or ``60`` in all) and `overrides`.

    Raises `SpecError` with all issues, among them each field that must stay.
    """
    before = load(folder.spec)
    assignments = [*overrides]
    if trials is not None:
        more = trials.removeprefix("+")
        if not more.isdecimal():
            must = "must be a number of trials in all, such as 60, or of further ones, such as +20"
            raise SpecError(Issue(("search", "trials"), must, show(trials)), source="--trials")
        wanted = int(more) + (before.search.trials if more != trials else 0)
        assignments.append(f"search.trials={wanted}")
    after = load(folder.spec, assignments)
    refuse(before, after, folder.sweep_id)
    return after


def refuse(before: Sweep, after: Sweep, sweep_id: str) -> None:
    """Raise `SpecError`, naming each field that differs though it must stay."""
    issues = []
    for path, old, new in differences(before, after):
        if not any(path == field or path.startswith(f"{field}.") for field in CHANGEABLE):
            reason = _REASONS.get(path.split(".")[0], _COMPARABLE)
            must = f"must stay {show(old)} in {sweep_id}: {reason}"
            must += "; start a new sweep for another value"
            issues.append(Issue(tuple(path.split(".")), must, show(new)))
    refuse_any(issues, OVERRIDE)


def differences(before: Sweep, after: Sweep) -> list[tuple[str, Any, Any]]:
    """Return the fields whose values differ, as (dotted path, value before, value after)."""
    old, new = _flat(before.model_dump(mode="json")), _flat(after.model_dump(mode="json"))
    paths = dict.fromkeys((*old, *new))
    return [
        (path, old.get(path), new.get(path)) for path in paths if old.get(path) != new.get(path)
    ]


def keep(folder: SweepFolder, sweep: Sweep) -> None:
    """Write the sweep's file; what it was before is kept as ``sweep.1.yaml`` and so on."""
    text = dump(sweep)
    if folder.is_there and (before := folder.spec.read_text(encoding="utf-8")) != text:
        paths = map(folder.earlier_spec, count(1))
        folder.write(next(path for path in paths if not path.exists()), before)
    folder.write(folder.spec, text)


def _flat(values: dict[str, Any], at: str = "") -> dict[str, Any]:
    """Return the values by dotted path; a space is one value, its keys are paths themselves."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{at}{key}"
        if isinstance(value, dict) and path != ".".join(SPACE):
            flat |= _flat(value, f"{path}.")
        else:
            flat[path] = value
    return flat
