"""The points of a sweep, one after another, sampled again until one is allowed.

A trial's number counts the points that were assigned. Optuna's own number is higher: rejected
points, points enqueued first and trials of earlier sweeps have numbers there, too.
"""

import json
import random
import secrets
from collections import Counter
from collections.abc import Callable, Iterable
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
    added_trials,
    enqueue,
    own_trials,
    tell,
)
from sweeps.trial import Point, Start, trial_id, trial_number

if TYPE_CHECKING:
    import optuna

ATTEMPTS = 100
"""Points sampled for one trial before the rules count as leaving none."""
_OWN_ATTEMPTS = 20
"""Points sampled by the sweep's sampler; later ones are random."""
_REPEATS = 5
"""Sampled points that have been tried, in a row, before an untried one is chosen instead."""
_COUNTABLE = 100_000
"""Largest size of a space that is searched exhaustively for untried points."""


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A point assigned to a trial."""

    trial: "optuna.Trial"
    number: int
    """Counts the sweep's own trials, from 0."""
    point: dict[str, Any]
    rungs: frozenset[int]
    """Rungs whose objective the study already has."""
    start: Start | None
    """The state of another trial from which this one begins."""


class Suggester:
    """Assigns the points of one study, those of unfinished trials first, and no point twice.

    The study's trials are read once, when this is created.
    """

    def __init__(self, study: "optuna.Study", sweep: Sweep) -> None:
        from optuna.trial import TrialState

        self._study = study
        self._sampler = sweep.search.sampler
        self._space = sweep.search.space
        self._size = self._space.size()
        self._refusal = sweep.refusal
        seed = self._sampler.seed
        if seed is None and "seed" not in study.user_attrs:
            study.set_user_attr("seed", secrets.randbelow(2**31))
        self._seed = int(study.user_attrs["seed"]) if seed is None else seed
        own, trials = own_trials(study), study.get_trials(deepcopy=False)
        self._planned = sweep.search.trials + added_trials(study)
        self._unfinished = [frozen for frozen in own.values() if not frozen.state.is_finished()]
        self._tried = {_key(frozen.params): name for name, frozen in own.items()}
        self._count = len(own)
        running = (frozen for frozen in trials if frozen.state is TrialState.RUNNING)
        self._interrupted = [frozen for frozen in running if TRIAL not in frozen.user_attrs]
        """Neither assigned nor rejected: the driver died before."""
        self._refused = self._attempt = 0
        """Points that broke a rule, and points rejected since the last trial."""
        for frozen in trials:
            if TRIAL in frozen.user_attrs:
                self._attempt = 0
            elif REFUSED in frozen.user_attrs:
                self._attempt += 1
                self._refused += frozen.state is TrialState.PRUNED

    @property
    def is_over(self) -> bool:
        """Whether every trial of the sweep has a point."""
        return not self._unfinished and self._count >= self._planned

    def refuse(self, why: Callable[[Point], str | None]) -> None:
        """Reject points for which `why` returns a reason, besides those that break a rule."""
        rules = self._refusal
        self._refusal = lambda point: rules(point) or why(point)

    def add_trial(self) -> None:
        """Plan one trial more."""
        self._planned += 1

    def next(self) -> Suggestion | None:
        """Return the next trial's point; None when all points of a finite space were tried.

        Raises ValueError, naming the rules that reject most, when they leave no point.
        """
        import optuna

        if self._unfinished:
            frozen = self._unfinished.pop(0)
            trial = optuna.Trial(self._study, frozen._trial_id)
            return _suggestion(trial, self._space.suggest(trial), frozen.intermediate_values)
        rejected: Counter[str] = Counter()
        repeats = 0
        for _ in range(ATTEMPTS):
            if len(self._tried) >= self._size:
                return None
            if repeats == _REPEATS and not self._enqueue_untried():
                return None
            trial, point = self._sample()
            rule, twin = self._refusal(point), self._tried.get(_key(point))
            if rule is None and twin is None:
                return self._accept(trial, point)
            if rule is None:
                repeats += 1
            else:
                rejected[rule] += 1
            self._reject(trial, point, rule, f"the point of {twin}")
        if self._size <= _COUNTABLE:
            if self._enqueue_untried():
                return self._accept(*self._sample())
            if self._tried:
                return None
        rules = ", ".join(f"{rule} ({count})" for rule, count in rejected.most_common())
        raise ValueError(
            f"search.space: none of {rejected.total()} sampled points satisfies all rules and "
            f"fits in memory; rejected by {rules}. Widen the domains or loosen the first rule"
        )

    def _sample(self) -> "tuple[optuna.Trial, dict[str, Any]]":
        """Return the sampler's next trial and point, first that of an interrupted enqueued one.

        Other interrupted trials fail: the sampler suggests the same point again.
        """
        import optuna
        from optuna.trial import TrialState

        trial = None
        while self._interrupted and trial is None:
            frozen = self._interrupted.pop(0)
            trial = optuna.Trial(self._study, frozen._trial_id)
            if GIVEN not in frozen.user_attrs:
                tell(self._study, trial, TrialState.FAIL, "the driver ended while it was sampled")
                trial = None
        own = self._attempt < _OWN_ATTEMPTS
        name, options = (self._sampler.name, self._sampler.options) if own else ("random", {})
        self._study.sampler = samplers.make(name, self._this_draw(), options)
        trial = trial or self._study.ask()
        return trial, self._space.suggest(trial)

    def _this_draw(self) -> Draw:
        attempt, refused = self._attempt, self._refused
        return Draw(sweep_seed=self._seed, trial=self._count, attempt=attempt, refused=refused)

    def _accept(self, trial: "optuna.Trial", point: dict[str, Any]) -> Suggestion:
        name = trial_id(self._count)
        trial.set_user_attr(TRIAL, name)
        self._tried[_key(point)] = name
        self._count += 1
        self._attempt = 0
        return _suggestion(trial, point)

    def _reject(self, trial: "optuna.Trial", point: Point, rule: str | None, repeated: str) -> None:
        """Store in the study why a point was rejected.

        A rule is a violated constraint, from which samplers learn. A repeated point is FAIL,
        which they ignore: nothing is wrong with it.
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
        # What was sampled for the fields that were not given may satisfy the rules next time.
        if given and given.keys() < point.keys() and self._attempt < ATTEMPTS // 2:
            kept = {key: value for key, value in trial.user_attrs.items() if key in (ADDED, START)}
            enqueue(self._study, given, again=True, attributes=kept)

    def _enqueue_untried(self) -> bool:
        """Make an untried point of a finite space the next one; return whether there is one.

        A space too large to search exhaustively certainly has one: the next point is random.
        """
        if self._size > _COUNTABLE:
            self._attempt = max(self._attempt, _OWN_ATTEMPTS)
            return True
        left = (point for point in self._space.points() if _key(point) not in self._tried)
        untried = [point for point in left if self._refusal(point) is None]
        if untried:
            point = random.Random(self._this_draw().seed).choice(untried)
            enqueue(self._study, point, again=True)
        return bool(untried)


def _suggestion(
    trial: "optuna.Trial", point: dict[str, Any], rungs: Iterable[int] = ()
) -> Suggestion:
    attributes = trial.user_attrs
    start = attributes.get(START)
    return Suggestion(
        trial=trial,
        number=trial_number(attributes[TRIAL]),
        point=point,
        rungs=frozenset(rungs),
        start=Start(**start) if start else None,
    )


def _key(point: Point) -> str:
    """Return a text that is the same for equal points; numbers may differ by rounding."""
    rounded = {
        path: f"{value:.9g}" if isinstance(value, float) else value for path, value in point.items()
    }
    return json.dumps(rounded, sort_keys=True)
