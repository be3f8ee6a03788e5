"""The projection: which writes to MLflow the lines of records stand for.

Besides the metrics of rungs these are the values under ``logged`` of a line, all optional:

- ``rung``, ``metrics``, ``seconds``, ``symptoms``: a rung that was not trained;
- ``best``: metrics of the best rung, see `sweeps.tracking.trial_run.best_metrics`;
- ``tags`` of the run, and ``sweep_tags`` of the sweep's;
- ``inputs``, see `sweeps.tracking.trial_run.data_inputs`;
- ``images``: each with ``key``, ``step`` and ``path``; ``files``: paths of artifacts. Both lie in
  the trial's folder, see `sweeps.results.folder.SweepFolder.artifact`;
- ``view``: ``key`` and ``text`` of the sweep's view; ``best_trial``: the sweep's.
"""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from sweeps.results import record
from sweeps.results.folder import SweepFolder
from sweeps.results.record import Line
from sweeps.rung_result import RungResult
from sweeps.tracking.remote_run import RemoteRun
from sweeps.tracking.sources import SWEEP
from sweeps.tracking.trial_run import RUNG_SECONDS, STATUS
from sweeps.trial import Ending
from workers.redaction import redact

Write = Callable[[Any], object]
"""Writes something with an `MlflowClient`; may be repeated."""

_ERROR, _GUARD, _SYMPTOMS = "trial.error", "trial.guard", "trial.symptoms"
_VIOLATES = "trial.violates"
_ERROR_TAG_CHARACTERS = 5000  # MLflow cuts a tag's end off at 8000, where the cause stands


class Runs:
    """The runs of a sweep in MLflow, with what this process has read of them."""

    def __init__(self, folder: SweepFolder, run_id: str) -> None:
        self.folder = folder
        self.sweep = RemoteRun(None, None, run_id)
        self._below: dict[str, dict[int | None, RemoteRun]] = {}
        """By trial, and by the rung after which a segment of it begins."""

    def trial(self, trial: str) -> RemoteRun:
        """Return the run of a trial."""
        own = self._below.setdefault(trial, {})
        return own.setdefault(None, RemoteRun(self.sweep, ("trial.id", trial)))

    def segment(self, trial: str, rung: int) -> RemoteRun:
        """Return the run of the segment of a trial that begins after `rung`."""
        above = self.trial(trial)
        tag = ("segment.rung", str(rung))
        return self._below[trial].setdefault(rung, RemoteRun(above, tag))

    def forget(self, name: str) -> None:
        """Read the runs of a trial, or the sweep's, anew: another process wrote to them."""
        if name == SWEEP:
            self.sweep = RemoteRun(None, None, self.sweep.run_id)
        self._below.pop(name, None)

    def content(self, trial: str, path: str) -> bytes:
        """Return an artifact of a trial, which its host has written."""
        file = self.folder.artifact(trial, path)
        self.folder.pull(file)
        return file.read_bytes()


def writes_of_trial(runs: Runs, trial: str, lines: Sequence[Line], index: int) -> Iterator[Write]:
    """Yield the writes of a line of a trial's record."""
    line, run, rungs = lines[index], runs.trial(trial), []
    logged, time = line.logged, _time(line)
    opened = [one for one in lines[: index + 1] if one.event == "opened"]
    if not opened or line.cut:
        return
    segments = opened[-1].values["segments"]
    if line.event == "opened":
        yield from _opened(runs, trial, line)
        # Lines that were lost, or are of format 1.
        rungs = [one for one in lines[:index] if one.event is None and not one.cut]
    elif line.event is None or "metrics" in logged:
        rungs = [line]
    elif line.event == "logged":
        yield _log(run, logged, time)
    for one in rungs:
        yield from _rung(runs, trial, one, segments)

    if "inputs" in logged:
        yield partial(run.log_inputs, inputs=logged["inputs"])
    if "sweep_tags" in logged:
        yield partial(runs.sweep.set_missing_tags, tags=logged["sweep_tags"])
    for image in logged.get("images", ()):
        given = {"key": image["key"], "step": image["step"], "time": time}
        yield partial(run.log_image, **given, content=partial(runs.content, trial, image["path"]))
    for path in logged.get("files", ()):
        yield partial(run.log_file, path=path, content=partial(runs.content, trial, path))


def writes_of_sweep(runs: Runs, lines: Sequence[Line], index: int) -> Iterator[Write]:
    """Yield the writes of a line of the sweep's own record."""
    line, run = lines[index], runs.sweep
    if line.event == "ended" and "trial" in line.values:
        yield from _ended(runs, line)
    elif line.event == "ended" and not any(one.event == "opened" for one in lines[index:]):
        state: Ending = line.values["state"]
        yield partial(run.end, status=STATUS[state], tags={"sweep.state": state}, time=_time(line))
    elif line.event == "logged":
        yield _log(run, line.logged, _time(line))
        if view := line.logged.get("view"):
            yield partial(run.set_view, **view)
        if best := line.logged.get("best_trial"):
            yield partial(_name_best, run, best, runs.trial(best))


def writes_of_old_entry(runs: Runs, box: str, line: Line) -> Iterator[Write]:
    """Yield the writes of an entry of an old spool, see `sweeps.tracking.sources`."""
    kind, values = line.values["kind"], dict(line.values["values"])
    time = line.values["time"]
    trial, _, segment = box.partition(".")
    run = runs.segment(trial, int(segment)) if segment else runs.trial(trial)
    if trial == SWEEP:
        run = runs.sweep
    content = partial(base64.b64decode, values.pop("content", ""))
    match kind:
        case "open":
            yield partial(run.open, **values, time=time)
        case "batch":
            yield partial(run.log, **values, time=time)
        case "untag":
            yield partial(run.untag, key=values["key"])
        case "inputs":
            yield partial(run.log_inputs, inputs=values["inputs"])
        case "artifact":
            yield partial(run.log_file, path=values["path"], content=content)
        case "image":
            yield partial(run.log_image, **values, content=content, time=time)
        case "end":
            own = runs.folder.events if trial == SWEEP else runs.folder.record(trial)
            if not record.openings(record.lines(own)):  # else it was resumed since
                yield partial(run.end, **values, time=time)
        case "view":
            yield partial(run.set_view, **values)
        case "name":
            yield partial(run.rename, name=values["name"])


def _opened(runs: Runs, trial: str, line: Line) -> Iterator[Write]:
    """Open the run of a trial and those of its segments, of which only the last one runs."""
    values, time = line.values, _time(line)
    tags = {**values["tags"], "trial.id": trial, "trial.state": "running"}
    run, segments = runs.trial(trial), values["segments"]
    yield partial(run.open, name=values["name"], params=values["params"], tags=tags, time=time)
    for segment in segments:
        own, is_last = runs.segment(trial, segment["rung"]), segment is segments[-1]
        given = {key: segment[key] for key in ("name", "params")}
        tags = {**segment["tags"], "trial.state": "running"}
        # One that is over has ended for good.
        yield partial(own.open, **given, tags=tags, time=time, again=is_last)
        if is_last:
            yield partial(run.rename, name=segment["title"])
        else:
            yield partial(_end, own, "stopped", None, time)


def _rung(
    runs: Runs, trial: str, line: Line, segments: Sequence[Mapping[str, Any]]
) -> Iterator[Write]:
    """Log a rung in the run of a trial, and in that of the segment that trained it."""
    rung = RungResult.from_json(line.logged if line.event else line.values)
    run, time = runs.trial(trial), _time(line)
    metrics = {**rung.metrics, RUNG_SECONDS: rung.seconds}
    symptoms = {_SYMPTOMS: f"rung {rung.rung}: {'; '.join(rung.symptoms)}"} if rung.symptoms else {}
    violates = {_VIOLATES: rung.violates} if rung.violates else {}
    tags = {**line.logged.get("tags", {}), **symptoms, **violates}
    yield _log(run, {**line.logged, "tags": tags}, time, metrics=metrics, rung=rung.rung)
    if not violates:
        yield partial(run.untag, key=_VIOLATES)
    begun = [segment["rung"] for segment in segments if segment["rung"] < rung.rung]
    if begun:
        own = runs.segment(trial, begun[-1])
        yield partial(own.log, metrics=metrics, rung=rung.rung, tags=symptoms, time=time)


def _log(run: RemoteRun, logged: Mapping[str, Any], time: int, **rung: Any) -> Write:
    tags, best = logged.get("tags", {}), logged.get("best", {})
    return partial(run.log, tags=tags, best=best, time=time, **rung)


def _ended(runs: Runs, line: Line) -> Iterator[Write]:
    """End the runs of a trial, unless a host has opened it again since."""
    values, trial, time = line.values, line.values["trial"], _time(line)
    lines = record.lines(runs.folder.record(trial))
    opened = [one for one in lines if one.event == "opened"]
    if len(opened) > values["opened"]:
        return
    for segment in opened[-1].values["segments"] if opened else ():
        own = runs.segment(trial, segment["rung"])
        yield partial(_end, own, values["state"], None, time)
    yield partial(_end, runs.trial(trial), values["state"], values.get("reason"), time)


def _end(run: RemoteRun, state: Ending, reason: str | None, time: int, client: Any) -> None:
    """End a run, once, with the state, and with the error or the guard's reason."""
    tags, error = {"trial.state": str(state)}, None
    reason = redact(reason or "")  # whole: of a cut secret the rest would stay
    if reason and state == "failed-by-guard":
        tags[_GUARD] = reason
    elif reason:
        tags[_ERROR], error = reason[-_ERROR_TAG_CHARACTERS:], reason
    run.end(client, status=STATUS[state], tags=tags, error=error, time=time, once=True)


def _name_best(run: RemoteRun, trial: str, best: RemoteRun, client: Any) -> None:
    found = best.find(client)
    named = {"sweep.best_run": found.info.run_id} if found else {}
    run.set_missing_tags(client, {"sweep.best_trial": trial, **named})


def _time(line: Line) -> int:
    """Return when a line was written, in milliseconds, however late MLflow gets it."""
    return int(line.values["time"] * 1000)
