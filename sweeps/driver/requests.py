"""Whether a request to a sweep makes sense: checked before it is sent, and again by the driver."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from search_spaces.flaws import Flaw, nearest, show
from search_spaces.values import same
from sweeps.results.folder import SweepFolder
from sweeps.results.inbox import Request
from sweeps.spec import starts
from sweeps.spec.load import Sweep
from sweeps.spec.problems import Problem, SpecError
from sweeps.spec.yaml_file import OVERRIDE, read_text
from sweeps.storage import copies
from sweeps.study.trials import TrialState

SHAPE = tuple(
    f"adapter.{field}" for field in ("variant", "rank", "targets", "bias", "trained_modules")
)
"""Fields that decide which weights an adapter has."""


def point_of(assignments: Iterable[str]) -> dict[str, Any]:
    """Return what assignments such as ``adapter.rank=64`` say; the values are YAML.

    Raises `SpecError`.
    """
    point: dict[str, Any] = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not path:
            flaw = Flaw((), "must look like adapter.rank=64", show(assignment))
            raise SpecError([Problem.of(flaw, OVERRIDE, None)])
        point[path.strip()] = read_text(text, OVERRIDE).values
    return point


def check(
    request: Request, sweep: Sweep, folder: SweepFolder, trials: Mapping[str, TrialState]
) -> None:
    """Raise `SpecError` with all that is wrong with a request."""
    flaws = list(_flaws(request, sweep, folder, trials))
    if flaws:
        raise SpecError([Problem.of(flaw, request.kind, None) for flaw in flaws])


def full_point(request: Request, sweep: Sweep, trials: Mapping[str, TrialState]) -> dict[str, Any]:
    """Return the point of the trial to add: that of the trial it copies, with the changes.

    A changed field may switch others off (``when``): they are left out, and what is switched
    on is drawn.
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


def _flaws(
    request: Request, sweep: Sweep, folder: SweepFolder, trials: Mapping[str, TrialState]
) -> Iterator[Flaw]:
    if request.trial is not None and request.trial not in trials:
        must = f"must be a trial of {folder.sweep_id}: {', '.join(trials) or 'there is none yet'}"
        yield Flaw(("trial",), must, request.trial, nearest(request.trial, trials))
    elif request.kind == "stop-trial":
        yield from _stop_flaws(trials[str(request.trial)])
    elif request.kind == "add":
        yield from _add_flaws(request, sweep, folder, trials)


def _stop_flaws(trial: TrialState) -> Iterator[Flaw]:
    if not trial.is_open:
        yield Flaw(("trial",), "must be a trial that runs", f"{trial.name}, which is {trial.state}")


def _add_flaws(
    request: Request, sweep: Sweep, folder: SweepFolder, trials: Mapping[str, TrialState]
) -> Iterator[Flaw]:
    if not request.point:
        yield Flaw((), "must change a field, as in --set adapter.rank=64")
        return
    point = full_point(request, sweep, trials)
    flaws = starts.point_flaws(sweep, point)
    yield from flaws
    twin = _twin(point, trials)
    if twin and not flaws:
        yield Flaw((), f"must be a new point, this is the one of {twin}")
    if request.rung is not None and not flaws:
        yield from _state_flaws(request, sweep, folder, trials, point)


def _twin(point: Mapping[str, Any], trials: Mapping[str, TrialState]) -> str | None:
    """Return the trial that has the very point already."""
    for trial in trials.values():
        if point.keys() == trial.point.keys() and all(
            same(value, trial.point[path]) for path, value in point.items()
        ):
            return trial.name
    return None


def _state_flaws(
    request: Request, sweep: Sweep, folder: SweepFolder, trials: Mapping[str, TrialState],
    point: Mapping[str, Any],
) -> Iterator[Flaw]:  # fmt: skip
    """Check that a new trial can go on from the state of another one."""
    if request.trial is None:
        yield Flaw(("--snapshot",), "must come with --from TRIAL, whose state it is")
        return
    origin = trials[request.trial]
    # The next rung begins with a snapshot: it may have been taken over from another trial.
    had = origin.point_at(request.rung + 1 if request.rung else _rung(origin, request))
    for path in SHAPE:
        if path in point and not same(point[path], had.get(path, point[path])):
            must = f"must stay {show(had[path])}, as the weights of {origin.name} have it"
            yield Flaw((path,), must, show(point[path]))
    there = [rung["rung"] for rung in origin.rungs
             if copies.holds(folder.snapshot(origin.name, rung["rung"]))]  # fmt: skip
    if request.rung == 0 and origin.adapter is None:
        yield Flaw(("--snapshot",), f"must be there, but {origin.name} has no best adapter on disk")
    elif request.rung and request.rung not in there:
        rungs = f"rungs {', '.join(map(str, there))} or best" if there else "best"
        must = f"must be a state of {origin.name} that is on disk: {rungs}"
        yield Flaw(("--snapshot",), must, str(request.rung))
    else:
        yield from _rung_flaws(origin, request, sweep, point)


def _rung(origin: TrialState, request: Request) -> int:
    """Return the rung whose state is asked for; that of the best adapter where none is named."""
    return request.rung or (origin.adapter.rung if origin.adapter else 0)


def _rung_flaws(
    origin: TrialState, request: Request, sweep: Sweep, point: Mapping[str, Any]
) -> Iterator[Flaw]:
    done = _rung(origin, request)
    epochs = int(point.get("train.epochs", sweep.train.epochs))
    if done >= epochs:
        must = f"must be below the {epochs} epochs of the new trial, or nothing is left to train"
        yield Flaw(("--snapshot",), must, f"rung {done}")
