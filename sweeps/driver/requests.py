"""Validation of requests to a running sweep: before they are sent, and again by the driver."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from search_spaces.issues import Issue, nearest, show
from search_spaces.values import same
from sweeps.results.folder import SweepFolder
from sweeps.results.inbox import Request
from sweeps.spec import starts
from sweeps.spec.load import Sweep
from sweeps.spec.problems import SpecError, refuse_any
from sweeps.spec.yaml_file import OVERRIDE, read_text
from sweeps.study.trials import TrialState

SHAPE = tuple(
    f"adapter.{field}" for field in ("variant", "rank", "targets", "bias", "trained_modules")
)
"""Fields that decide which weights an adapter has."""


def point_of(assignments: Iterable[str]) -> dict[str, Any]:
    """Return the fields of assignments such as ``adapter.rank=64``; the values are YAML.

    Raises `SpecError`.
    """
    point: dict[str, Any] = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not path:
            issue = Issue((), "must look like adapter.rank=64", show(assignment))
            raise SpecError(issue, source=OVERRIDE)
        point[path.strip()] = read_text(text, OVERRIDE).values
    return point


def check(
    request: Request, sweep: Sweep, folder: SweepFolder, trials: Mapping[str, TrialState]
) -> None:
    """Raise `SpecError` with all issues of a request."""
    refuse_any(_issues(request, sweep, folder, trials), request.kind)


def full_point(request: Request, sweep: Sweep, trials: Mapping[str, TrialState]) -> dict[str, Any]:
    """Return the point of the trial to add: that of the trial it copies, with the changes.

    A changed field may switch others off (``when``): they are left out, and those that it switches
    on are sampled.
    """
    origin = trials[request.trial].point if request.trial else {}
    point = {**origin, **request.point}
    space = sweep.search.space
    return {
        path: value
        for path, value in point.items()
        if path in request.point or path not in space or _holds(space[path].when, point)
    }


def _holds(when: Mapping[str, tuple[Any, ...]], point: Mapping[str, Any]) -> bool:
    return all(
        path in point and any(same(point[path], value) for value in allowed)
        for path, allowed in when.items()
    )


def _issues(
    request: Request, sweep: Sweep, folder: SweepFolder, trials: Mapping[str, TrialState]
) -> Iterator[Issue]:
    if request.trial is not None and request.trial not in trials:
        must = f"must be a trial of {folder.sweep_id}: {', '.join(trials) or 'there is none yet'}"
        yield Issue(("trial",), must, request.trial, nearest(request.trial, trials))
    elif request.kind == "stop-trial" and not (trial := trials[str(request.trial)]).is_open:
        actual = f"{trial.name}, which is {trial.state}"
        yield Issue(("trial",), "must be a trial that runs", actual)
    elif request.kind == "add":
        yield from _add_issues(request, sweep, folder, trials)


def _add_issues(
    request: Request, sweep: Sweep, folder: SweepFolder, trials: Mapping[str, TrialState]
) -> Iterator[Issue]:
    if not request.point:
        yield Issue((), "must change a field, as in --set adapter.rank=64")
        return
    point = full_point(request, sweep, trials)
    issues = starts.point_issues(sweep, point)
    yield from issues
    twin = _twin(point, trials)
    if twin and not issues:
        yield Issue((), f"must be a new point, this is the one of {twin}")
    if request.rung is not None and not issues:
        yield from _state_issues(request, sweep, folder, trials, point)


def _twin(point: Mapping[str, Any], trials: Mapping[str, TrialState]) -> str | None:
    """Return the trial that has the very point already."""
    for trial in trials.values():
        if point.keys() == trial.point.keys() and all(
            same(value, trial.point[path]) for path, value in point.items()
        ):
            return trial.name
    return None


def _state_issues(
    request: Request, sweep: Sweep, folder: SweepFolder, trials: Mapping[str, TrialState],
    point: Mapping[str, Any],
) -> Iterator[Issue]:  # fmt: skip
    """Check that a new trial can start from the state of another one."""
    if request.trial is None:
        yield Issue(("--snapshot",), "must come with --from TRIAL, whose state it is")
        return
    origin = trials[request.trial]
    # Rung 0 stands for the best adapter.
    rung = request.rung or (origin.adapter.rung if origin.adapter else 0)
    # The next rung begins with a snapshot: it may have been taken over from another trial.
    had = origin.point_at(rung + 1 if request.rung else rung)
    for path in SHAPE:
        if path in point and not same(point[path], had.get(path, point[path])):
            must = f"must stay {show(had[path])}, as the weights of {origin.name} have it"
            yield Issue((path,), must, show(point[path]))
    rungs_on_record = [one.rung for one in origin.rungs]
    there = [one for one in rungs_on_record if folder.holds(folder.snapshot(origin.name, one))]
    epochs = int(point.get("train.epochs", sweep.train.epochs))
    actual = ""
    if request.rung == 0 and origin.adapter is None:
        must = f"must be there, but {origin.name} has no best adapter on disk"
    elif request.rung and request.rung not in there:
        rungs = f"rungs {', '.join(map(str, there))} or best" if there else "best"
        must, actual = f"must be a state of {origin.name} that is on disk: {rungs}", str(rung)
    elif rung >= epochs:
        must = f"must be below the {epochs} epochs of the new trial, or nothing is left to train"
        actual = f"rung {rung}"
    else:
        return
    yield Issue(("--snapshot",), must, actual)
