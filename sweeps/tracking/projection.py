"""What the lines of records write to MLflow.

Besides the metrics of rungs these are the values under ``logged`` of a line, all optional:

- ``rung``, ``metrics``, ``seconds``, ``symptoms``: a rung that was not trained;
- ``best``: metrics of the best rung, see `sweeps.tracking.trial_run.best_metrics`;
- ``tags`` of the run, and ``sweep_tags`` of the sweep's;
- ``inputs``, see `sweeps.tracking.inputs.data_inputs`;
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
    """The runs of a sweep in MLflow, as far as this process knows them."""

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

    def forget(self, trial: str) -> None:
        """Ask MLflow anew what the runs of a trial have: another process has written to them."""
        self._below.pop(trial, None)

    def lines(self, trial: str) -> list[Line]:
        """Return the record of a trial."""
        return record.lines(self.folder.record(trial))

    def is_resumed(self, name: str) -> bool:
        """Tell whether a trial or the sweep was taken up since it has such a record."""
        own = self.folder.events if name == SWEEP else self.folder.record(name)
        return record.openings(record.lines(own)) > 0


def writes_of_trial(runs: Runs, trial: str, lines: Sequence[Line], index: int) -> Iterator[Write]:
    """Yield what a line of a trial's record writes."""
    line, run = lines[index], runs.trial(trial)
    opened = [one for one in lines[: index + 1] if one.event == "opened"]
    if not opened or line.cut:
        return
    segments = opened[-1].values["segments"]
    if line.event == "opened":
        yield from _opened(runs, trial, line)
        for earlier in lines[:index]:  # a line that is lost, or of format 1
            if earlier.event is None and not earlier.cut:
                rung = RungResult.from_json(earlier.values)
                yield from _rung(runs, trial, rung, earlier.logged, _time(earlier), segments)
    elif line.event is None or "metrics" in line.logged:
        rung = RungResult.from_json(line.logged if line.event else line.values)
        yield from _rung(runs, trial, rung, line.logged, _time(line), segments)
    elif line.event == "logged":
        yield from _log(run, {}, None, line.logged, _time(line))
    yield from _more(runs, run, trial, line)


def writes_of_sweep(runs: Runs, lines: Sequence[Line], index: int) -> Iterator[Write]:
    """Yield what a line of the sweep's own record writes."""
    line, run = lines[index], runs.sweep
    resumed = any(later.event == "opened" for later in lines[index:])
    if line.event == "ended" and "trial" in line.values:
        yield from _ended(runs, line)
    elif line.event == "ended" and not resumed:
        state: Ending = line.values["state"]
        yield partial(run.end, status=STATUS[state], tags={"sweep.state": state}, time=_time(line))
    elif line.event == "logged":
        yield from _log(run, {}, None, line.logged, _time(line))
        if view := line.logged.get("view"):
            yield partial(run.set_view, **view)
        if best := line.logged.get("best_trial"):
            yield partial(_name_best, run, best, runs.trial(best))


def writes_of_old_entry(runs: Runs, box: str, line: Line) -> Iterator[Write]:
    """Yield what an entry of an old spool writes, see `sweeps.tracking.sources`."""
    kind, values = line.values["kind"], dict(line.values["values"])
    time = line.values["time"]
    trial, _, segment = box.partition(".")
    run = runs.segment(trial, int(segment)) if segment else runs.trial(trial)
    if trial == SWEEP:
        run = runs.sweep
    content = base64.b64decode(values.pop("content", ""))
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
        case "end" if not runs.is_resumed(trial):
            yield partial(run.end, **values, time=time)
        case "view":
            yield partial(run.set_view, **values)
        case "name":
            yield partial(run.rename, name=values["name"])


def _opened(runs: Runs, trial: str, line: Line) -> Iterator[Write]:
    values, time = line.values, _time(line)
    tags = {**values["tags"], "trial.id": trial, "trial.state": "running"}
    run, segments = runs.trial(trial), values["segments"]
    yield partial(run.open, name=values["name"], params=values["params"], tags=tags, time=time)
    for segment in segments:
        own = runs.segment(trial, segment["rung"])
        tags = {**segment["tags"], "trial.state": "running"}
        # One that is over has ended for good.
        yield partial(
            own.open, name=segment["name"], params=segment["params"], tags=tags, time=time,
            again=segment is segments[-1],
        )  # fmt: skip
        if segment is segments[-1]:
            yield partial(run.rename, name=segment["title"])
        else:
            yield partial(_end, own, "stopped", None, time)


def _rung(
    runs: Runs, trial: str, rung: RungResult, logged: Mapping[str, Any], time: int,
    segments: Sequence[Mapping[str, Any]],
) -> Iterator[Write]:  # fmt: skip
    run = runs.trial(trial)
    metrics = {**rung.metrics, RUNG_SECONDS: rung.seconds}
    symptoms = {_SYMPTOMS: f"rung {rung.rung}: {'; '.join(rung.symptoms)}"} if rung.symptoms else {}
    tags = {**logged.get("tags", {}), **symptoms}
    if rung.violates:
        tags[_VIOLATES] = rung.violates
    yield from _log(run, metrics, rung.rung, {**logged, "tags": tags}, time)
    if not rung.violates:
        yield partial(run.untag, key=_VIOLATES)
    begun = [segment["rung"] for segment in segments if segment["rung"] < rung.rung]
    if begun:
        own = runs.segment(trial, begun[-1])
        yield partial(own.log, metrics=metrics, rung=rung.rung, tags=symptoms, time=time)


def _log(
    run: RemoteRun, metrics: Mapping[str, float], rung: int | None, logged: Mapping[str, Any],
    time: int,
) -> Iterator[Write]:  # fmt: skip
    yield partial(
        run.log, metrics=metrics, rung=rung, tags=logged.get("tags", {}),
        best=logged.get("best", {}), time=time,
    )  # fmt: skip


def _more(runs: Runs, run: RemoteRun, trial: str, line: Line) -> Iterator[Write]:
    """Yield what is neither a metric nor a tag of the run."""
    logged = line.logged
    if "inputs" in logged:
        yield partial(run.log_inputs, inputs=logged["inputs"])
    if "sweep_tags" in logged:
        yield partial(runs.sweep.set_missing_tags, tags=logged["sweep_tags"])
    for image in logged.get("images", ()):
        yield partial(_log_image, runs.folder, run, trial, image, _time(line))
    for path in logged.get("files", ()):
        yield partial(_log_file, runs.folder, run, trial, path)


def _ended(runs: Runs, line: Line) -> Iterator[Write]:
    """End the runs of a trial, unless it was taken up again since."""
    values, trial = line.values, line.values["trial"]
    opened = [one for one in runs.lines(trial) if one.event == "opened"]
    if len(opened) > values["opened"]:
        return
    for segment in opened[-1].values["segments"] if opened else ():
        own = runs.segment(trial, segment["rung"])
        yield partial(_end, own, values["state"], None, _time(line))
    yield partial(_end, runs.trial(trial), values["state"], values.get("reason"), _time(line))


def _end(run: RemoteRun, state: Ending, reason: str | None, time: int, client: Any) -> None:
    """End a run, once, with the state, and with the error or the guard's words."""
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


def _log_image(
    folder: SweepFolder,
    run: RemoteRun,
    trial: str,
    image: Mapping[str, Any],
    time: int,
    client: Any,
) -> None:
    content = _content(folder, trial, image["path"])
    run.log_image(client, key=image["key"], step=image["step"], content=content, time=time)


def _log_file(folder: SweepFolder, run: RemoteRun, trial: str, path: str, client: Any) -> None:
    run.log_file(client, path, _content(folder, trial, path))


def _content(folder: SweepFolder, trial: str, path: str) -> bytes:
    file = folder.artifact(trial, path)
    folder.pull(file)
    return file.read_bytes()


def _time(line: Line) -> int:
    """Return when a line was written, in milliseconds, however late MLflow hears of it."""
    return int(line.values["time"] * 1000)
