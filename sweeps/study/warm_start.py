"""Warm start: trials of comparable earlier sweeps that a new study begins with."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces.issues import show
from search_spaces.space import placed
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import Sweep, load
from sweeps.spec.validation import dotted
from sweeps.study.study import ORIGIN, open_study, own_trials

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

_SAME = ("task", "prompt", "model", "data", "evaluate")
"""Sections of the recipe that must be equal for scores to be comparable."""
_OBJECTIVE = ("search.objective.metric", "search.objective.mode")
_FREE = ("train.seed",)
"""Fields that may differ: they change scores only by chance."""


def add_earlier_trials(study: "optuna.Study", sweep: Sweep, root: Path) -> list[str]:
    """Add the trials of ``search.warm_start`` to a study, once; return a line for each sweep.

    They are not trials of this sweep: they have no name and do not count.
    Raises ValueError for a sweep that is not comparable, FileNotFoundError for a missing one.
    """
    have = {frozen.user_attrs.get(ORIGIN) for frozen in study.get_trials(deepcopy=False)}
    found: list[FrozenTrial] = []
    lines = []
    for sweep_id in sweep.search.warm_start:
        folder = SweepFolder.find(root, sweep_id)
        earlier = load(folder.spec)
        if differences := "; ".join(_differences(earlier, sweep)):
            what = f"scores of {folder.sweep_id} are not comparable"
            raise ValueError(f"search.warm_start: {what}: {differences}")
        own = own_trials(open_study(earlier, folder))
        left: Counter[str] = Counter()
        for name, frozen in own.items():
            mapped = _mapped(frozen, earlier, sweep, f"{folder.sweep_id}/{name}")
            if isinstance(mapped, str):
                left[mapped] += 1
            elif mapped.user_attrs[ORIGIN] not in have:
                found.append(mapped)
        reasons = ", ".join(f"{count} {reason}" for reason, count in left.items())
        taken = f"took {len(own) - left.total()} of {len(own)} trials of {folder.sweep_id}"
        lines.append(f"{taken}: {reasons}" if reasons else taken)
    study.add_trials(found)
    return lines


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


def _mapped(
    frozen: "FrozenTrial", earlier: Sweep, sweep: Sweep, origin: str
) -> "FrozenTrial | str":
    """Return a trial with its point in the new space, or why it has none there.

    Fields that the earlier sweep did not sweep have the value that it fixed.
    """
    from optuna.trial import create_trial

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
    return create_trial(
        state=frozen.state,
        values=frozen.values,
        params=point,
        distributions=given.distributions,
        intermediate_values=frozen.intermediate_values,
        constraints=frozen.constraints or None,
        user_attrs={ORIGIN: origin},
    )
