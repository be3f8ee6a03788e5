"""The progress of a sweep as lines of JSON in the log of its driver, for `sweeps logs --follow`.

A log is all that a Ray cluster hands out of a job. A driver writes such lines in place of its plain
ones where `VARIABLE` is `JSON`. There are two kinds: the sweep, first and whenever it
has changed, and a trial, for each of its rungs and for its end, with the seconds since the driver
began its search. What is empty is left out.

    {"sweep": "shapes-1", "objectives": [{"metric": "cider", "mode": "max"}], "wanted": 8, ...}
    {"trial": "trial-001", "point": {"adapter.rank": 4}, "state": "running", "rung": 2, ...}
"""

import json
import time
from collections.abc import Mapping
from typing import Any

from sweeps.driver.progress import Progress
from sweeps.rung_result import RungResult
from sweeps.spec.objectives import Objective
from sweeps.study.trials import TrialState
from sweeps.trial import last_line

VARIABLE, JSON = "SWEEPS_PROGRESS", "json"

_RUNG = ("rung", "objective", "best", "bests", "symptoms", "violates")
"""The values of a `RungResult` that an event has."""


def sweep_event(progress: Progress) -> str:
    """Return the line for a sweep."""
    values = {
        "sweep": progress.sweep_id,
        "objectives": [objective.model_dump() for objective in progress.objectives],
        "wanted": progress.wanted,
        "epochs": progress.epochs,
        "paused": progress.paused,
    }
    return json.dumps(values)


def trial_event(progress: Progress, trial: TrialState) -> str:
    """Return the line for a trial, with its last rung."""
    last = trial.rungs[-1].to_json() if trial.rungs else {}
    values = {
        "trial": trial.name,
        "point": dict(trial.point),
        "state": trial.state,
        "reason": last_line(trial.reason) if trial.reason else None,
        **{key: last.get(key) for key in _RUNG},
        "seconds": round(time.monotonic() - progress.started, 1),
        "recovered": trial.name in progress.recovered or None,
    }
    return json.dumps({key: value for key, value in values.items() if value not in (None, (), [])})


def read(line: str, progress: Progress | None) -> tuple[Progress, TrialState | None] | None:
    """Return the progress after the event that a line is, and the trial that it is about, if any.

    `progress` is that after the events before it. None for a line that is no event.
    """
    if not line.startswith(('{"sweep": ', '{"trial": ')):
        return None
    try:
        event = json.loads(line)
        if "sweep" in event:
            return _sweep(event, progress), None
        return None if progress is None else (progress, _trial(event, progress))
    except (ValueError, KeyError):
        return None


def _sweep(event: Mapping[str, Any], progress: Progress | None) -> Progress:
    if progress is None:
        progress = Progress(
            sweep_id=event["sweep"], wanted=event["wanted"], epochs=event["epochs"],
            objectives=tuple(map(Objective.model_validate, event["objectives"])),
        )  # fmt: skip
    progress.wanted, progress.paused = event["wanted"], event["paused"]
    return progress


def _trial(event: Mapping[str, Any], progress: Progress) -> TrialState:
    last = {key: event[key] for key in _RUNG if key in event}
    trial = TrialState(
        name=event["trial"],
        point=event["point"],
        state=event["state"],
        reason=event.get("reason"),
        rungs=[RungResult.from_json(last)] if last else [],
    )
    progress.started = time.monotonic() - event["seconds"]
    (progress.recovered.add if event.get("recovered") else progress.recovered.discard)(trial.name)
    progress.trials[trial.name] = trial
    return trial
