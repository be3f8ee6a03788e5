"""Trials of earlier sweeps that a new sweep begins with, where they are about the same thing."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.issues import show
from search_spaces.space import placed
from sweeps.results.folder import SweepFolder
from sweeps.spec.fields import dotted
from sweeps.spec.load import Sweep, load
from sweeps.study.study import ORIGIN, open_study, own_trials

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

_SAME = ("task", "prompt", "model", "data", "evaluate")
"""Sections of the recipe without which scores cannot be compared."""
_OBJECTIVE = ("search.objective.metric", "search.objective.mode")
_FREE = ("train.seed",)
"""Fields that may differ: they change a score by chance only."""


@dataclass(frozen=True, kw_only=True)
class WarmStartTrials:
    """What was taken from one earlier sweep."""

    sweep_id: str
    trials: "tuple[FrozenTrial, ...]"
    every: int
    """Trials that the sweep has."""
    left: Mapping[str, int]
    """Reason -> trials that were left out for it."""

    def __str__(self) -> str:
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.left.items())
        left = f": {reasons}" if reasons else ""
        return f"took {len(self.trials)} of {self.every} trials of {self.sweep_id}{left}"


def begin(study: "optuna.Study", sweep: Sweep, root: Path) -> list[str]:
    """Add what earlier sweeps below `root` teach to a study, once; return a line for each.

    They are no trials of this sweep: they have no name, and do not count.
    Raises ValueError for a sweep that is about something else, FileNotFoundError for none.
    """
    have = {frozen.user_attrs.get(ORIGIN) for frozen in study.get_trials(deepcopy=False)}
    lines = []
    for taken in find(sweep, root):
        study.add_trials(one for one in taken.trials if one.user_attrs[ORIGIN] not in have)
        lines.append(str(taken))
    return lines


def find(sweep: Sweep, root: Path) -> list[WarmStartTrials]:
    """Return what can be taken from each of ``search.warm_start``."""
    return [_from(SweepFolder.find(root, sweep_id), sweep) for sweep_id in sweep.search.warm_start]


def _from(folder: SweepFolder, sweep: Sweep) -> WarmStartTrials:
    earlier = load(folder.spec)
    differences = list(_differences(earlier, sweep))
    if differences:
        raise ValueError(
            f"search.warm_start: {folder.sweep_id} is about something else, so that scores "
            f"cannot be compared: {'; '.join(differences)}"
        )
    own = own_trials(open_study(earlier, folder))
    mapped = {name: _mapped(frozen, earlier, sweep) for name, frozen in own.items()}
    return WarmStartTrials(
        sweep_id=folder.sweep_id,
        trials=tuple(
            _copy(own[name], point, f"{folder.sweep_id}/{name}")
            for name, point in mapped.items()
            if not isinstance(point, str)
        ),
        every=len(own),
        left=Counter(point for point in mapped.values() if isinstance(point, str)),
    )


def _differences(earlier: Sweep, sweep: Sweep) -> Iterator[str]:
    before, now = dotted(earlier), dotted(sweep)
    further = [[each.metric for each in one.search.objectives[1:]] for one in (earlier, sweep)]
    if further[0] != further[1]:
        yield f"further objectives {show(further[0])} there, {show(further[1])} here"
    for path in now:
        section = path.split(".")[0]
        same = path in _OBJECTIVE or (section in _SAME and path not in sweep.search.space)
        if same and before[path] != now[path]:
            yield f"{path} {show(before[path])} there, {show(now[path])} here"


_Point = tuple[dict[str, Any], dict[str, Any]]
"""Point and Optuna's distributions of its fields."""


def _mapped(frozen: "FrozenTrial", earlier: Sweep, sweep: Sweep) -> _Point | str:
    """Return a trial's point in the new space, or why it has none.

    Fields that were not swept then have the value that they were fixed to.
    """
    if frozen.state.name != "COMPLETE":
        return "not finished"
    space, values = sweep.search.space, dotted(earlier.recipe.with_point(frozen.params))
    point, given = placed(space, values)
    for path, value in point.items():
        if not space[path].contains(value):
            return f"outside {path}"
    for path, value in dotted(sweep.recipe.with_point(point)).items():
        if path not in _FREE and value != values[path]:
            return f"with another {path}"
    return point, given.distributions


def _copy(frozen: "FrozenTrial", point: _Point, origin: str) -> "FrozenTrial":
    from optuna.trial import create_trial

    params, distributions = point
    return create_trial(
        state=frozen.state,
        values=frozen.values,
        params=params,
        distributions=distributions,
        intermediate_values=frozen.intermediate_values,
        constraints=frozen.constraints or None,
        user_attrs={ORIGIN: origin},
    )
