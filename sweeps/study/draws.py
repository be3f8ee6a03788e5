"""The points of a sweep, one after the other: what to try, drawn again until it may be tried.

A trial's number counts the points that were really given out. Optuna's own number of it is
higher: refused draws, points to start with and trials of earlier sweeps take numbers there.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweeps import samplers
from sweeps.samplers import Draw
from sweeps.spec.sweep import Sweep
from sweeps.study.study import (
    ADDED,
    GIVEN,
    REFUSED,
    START,
    TRIAL,
    added,
    cut_off,
    enqueue,
    own_trials,
    sweep_seed,
    tell,
)
from sweeps.trial import Start, trial_id

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

Point = Mapping[str, Any]
ATTEMPTS = 100
"""Draws for one trial before it is said that rules leave no room."""
_OWN_ATTEMPTS = 20
"""Draws that the sampler itself makes; after that points are random."""
_REPEATS = 5
"""Points that were run already, drawn in a row, before an untried one is picked."""
_COUNTABLE = 100_000
"""Points up to which a space is walked through to find untried ones."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A point that a trial may have."""

    trial: "optuna.Trial"
    number: int
    """Counts the sweep's own trials, from 0."""
    point: dict[str, Any]
    rungs: frozenset[int] = frozenset()
    """Rungs whose objective the study has already."""
    start: Start | None = None
    """The state of another trial from which this one begins."""


class Draws:
    """Hands out the points of one study: first those of trials that nobody ended.

    No point is handed out twice. What the study says is read once, when this is made.
    """

    def __init__(self, study: "optuna.Study", sweep: Sweep) -> None:
        self._study = study
        self._sampler = sweep.search.sampler
        self._space = sweep.search.space
        self._refusal = sweep.refusal
        self._size = self._space.size()
        self._seed = sweep_seed(study, sweep)
        own = own_trials(study)
        self._wanted = sweep.search.trials + added(study)
        self._unfinished = [frozen for frozen in own.values() if not frozen.state.is_finished()]
        self._seen = {_key(frozen.params): name for name, frozen in own.items()}
        self._count = len(own)
        self._cut_off = cut_off(study)
        self._refused, self._attempt = _refusals(study)

    @property
    def is_over(self) -> bool:
        """Whether all trials that the sweep is to run were handed out."""
        return not self._unfinished and self._count >= self._wanted

    def refuse(self, why: Callable[[Point], str | None]) -> None:
        """Refuse points for which `why` has a reason, besides those that break a rule."""
        rules = self._refusal
        self._refusal = lambda point: rules(point) or why(point)

    def one_more(self) -> None:
        """Count a trial that was asked for on top of the others."""
        self._wanted += 1

    def next(self) -> Drawn | None:
        """Return the next trial's point; None when all points of a finite space were tried.

        Raises ValueError, naming the rule that rejects most, when rules leave no point.
        """
        if self._unfinished:
            return self._again(self._unfinished.pop(0))
        rejected: Counter[str] = Counter()
        repeats = 0
        for _ in range(ATTEMPTS):
            if len(self._seen) >= self._size:
                return None
            if repeats == _REPEATS and not self._enqueue_untried():
                return None
            trial = self._draw()
            point = self._space.suggest(trial)
            rule, twin = self._refusal(point), self._seen.get(_key(point))
            if rule is None and twin is None:
                return self._accept(trial, point)
            repeats += rule is None
            if rule is not None:
                rejected[rule] += 1
            self._refuse(trial, point, rule, f"the point of {twin}")
        return self._last_resort(rejected)

    def _last_resort(self, rejected: Counter[str]) -> Drawn | None:
        """Walk through the whole space, if it can be, for what a hundred draws have not found."""
        if self._size <= _COUNTABLE:
            if self._enqueue_untried():
                trial = self._draw()
                return self._accept(trial, self._space.suggest(trial))
            if self._seen:
                return None
        raise ValueError(_no_room(rejected))

    def _draw(self) -> "optuna.Trial":
        trial = self._taken_up()
        name = self._sampler.name if self._attempt < _OWN_ATTEMPTS else "random"
        options = self._sampler.options if name == self._sampler.name else {}
        self._study.sampler = samplers.make(name, self._this_draw(), options)
        return trial or self._study.ask()

    def _taken_up(self) -> "optuna.Trial | None":
        """Go on with a point to start with whose drawing an earlier driver did not end.

        Other draws that were cut off are given up: the same point is drawn again.
        """
        import optuna
        from optuna.trial import TrialState

        while self._cut_off:
            frozen = self._cut_off.pop(0)
            trial = optuna.Trial(self._study, frozen._trial_id)
            if GIVEN in frozen.user_attrs:
                return trial
            tell(self._study, trial, TrialState.FAIL, "the driver ended while it was drawn")
        return None

    def _this_draw(self) -> Draw:
        return Draw(
            sweep_seed=self._seed,
            trial=self._count,
            attempt=self._attempt,
            refused=self._refused,
        )

    def _again(self, frozen: "FrozenTrial") -> Drawn:
        """Return a trial that was given out before, with the rungs that the study knows."""
        import optuna

        trial = optuna.Trial(self._study, frozen._trial_id)
        return Drawn(
            trial=trial,
            number=int(frozen.user_attrs[TRIAL].rpartition("-")[2]),
            point=self._space.suggest(trial),
            rungs=frozenset(frozen.intermediate_values),
            start=_start(frozen.user_attrs),
        )

    def _accept(self, trial: "optuna.Trial", point: dict[str, Any]) -> Drawn:
        name = trial_id(self._count)
        trial.set_user_attr(TRIAL, name)
        start = _start(trial.user_attrs)
        drawn = Drawn(trial=trial, number=self._count, point=point, start=start)
        self._seen[_key(point)] = name
        self._count += 1
        self._attempt = 0
        return drawn

    def _refuse(self, trial: "optuna.Trial", point: Point, rule: str | None, repeated: str) -> None:
        """Tell the study why a draw was not tried.

        A rule is a violated constraint, from which samplers learn. A repeated point is FAIL,
        which they leave out: nothing is wrong with it.
        """
        from optuna.trial import TrialState

        trial.set_user_attr(REFUSED, rule or repeated)
        self._attempt += 1
        if rule is None:
            tell(self._study, trial, TrialState.FAIL)
            return
        self._refused += 1
        trial.set_constraint("rules", 1.0)
        tell(self._study, trial, TrialState.PRUNED)
        given = trial.user_attrs.get(GIVEN, {})
        # What was drawn beside the given part of a point may fit next time.
        if given and given.keys() < point.keys() and self._attempt < ATTEMPTS // 2:
            asked = {name: trial.user_attrs[name] for name in (ADDED, START)
                     if name in trial.user_attrs}  # fmt: skip
            enqueue(self._study, given, again=True, attributes=asked)

    def _enqueue_untried(self) -> bool:
        """Make an untried point of a finite space the next draw; return whether there is one.

        A space with too many points to walk through has one for sure: the next draw is random.
        """
        if self._size > _COUNTABLE:
            self._attempt = max(self._attempt, _OWN_ATTEMPTS)
            return True
        untried = [
            point
            for point in self._space.points()
            if _key(point) not in self._seen and self._refusal(point) is None
        ]
        if untried:
            point = random.Random(self._this_draw().seed).choice(untried)
            enqueue(self._study, point, again=True)
        return bool(untried)


def _start(attributes: Mapping[str, Any]) -> Start | None:
    """Return from which state of another trial a trial begins, by its attributes in the study."""
    start = attributes.get(START)
    return Start(**start) if start else None


def _key(point: Point) -> str:
    """Return a text that equal points share; numbers that differ by rounding are equal."""
    return json.dumps(
        {path: f"{value:.9g}" if isinstance(value, float) else value
         for path, value in point.items()},
        sort_keys=True,
    )  # fmt: skip


def _refusals(study: "optuna.Study") -> tuple[int, int]:
    """Return how many draws rules have refused, and how many draws came after the last trial."""
    from optuna.trial import TrialState

    refused = attempt = 0
    for frozen in study.get_trials(deepcopy=False):
        if TRIAL in frozen.user_attrs:
            attempt = 0
        elif REFUSED in frozen.user_attrs:
            attempt += 1
            refused += frozen.state is TrialState.PRUNED
    return refused, attempt


def _no_room(rejected: Counter[str]) -> str:
    rules = ", ".join(f"{rule} ({count})" for rule, count in rejected.most_common())
    return (
        f"search.space: none of {rejected.total()} points that were drawn keeps all rules and "
        f"fits in memory; rejected by {rules}. Widen the domains or loosen the first rule"
    )
