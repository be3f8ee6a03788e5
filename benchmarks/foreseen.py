"""A model over rungs: what a stopped trial would have reached is foreseen, and learned from.

The gain from a rung to the end is taken from the finished trials (its median); every trial then
counts as complete. Without this Optuna's Gaussian process leaves stopped trials out altogether.
"""

from statistics import median
from typing import Any

import optuna
from optuna.samplers import GPSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from benchmarks.told import Told
from search_spaces.space import Space

Point = dict[str, Any]
_STARTUP = 5
_END = 1_000_000
"""A rung that comes after all others."""


class Foreseeing(Told):
    """Expected improvement over foreseen scores."""

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__()
        self._space, self._seed = space, seed

    def suggest(self, trial_id: str) -> Point:
        """Return the point of a new trial."""
        past = self.study.get_trials(deepcopy=False)
        model = optuna.create_study(
            direction="maximize",
            sampler=GPSampler(seed=self._seed * 1_000_003 + len(past), n_startup_trials=_STARTUP),
        )
        model.add_trials(_foreseen(trial, past) for trial in past)
        self.study.enqueue_trial(self._space.suggest(model.ask()))
        self.trials[trial_id] = self.study.ask()
        return self._space.suggest(self.trials[trial_id])


def _foreseen(trial: FrozenTrial, past: list[FrozenTrial]) -> FrozenTrial:
    if not trial.state.is_finished():
        return create_trial(
            state=TrialState.RUNNING, params=trial.params, distributions=trial.distributions
        )
    value = trial.value if trial.state is TrialState.COMPLETE else _reached(trial, past)
    return create_trial(params=trial.params, distributions=trial.distributions, value=value)


def _reached(trial: FrozenTrial, past: list[FrozenTrial]) -> float:
    """Return the best score so far and the median gain of finished trials from there on."""
    rung = max(trial.intermediate_values)
    finished = [each for each in past if each.state is TrialState.COMPLETE]
    gains = [_best(each, _END) - _best(each, rung) for each in finished]
    return _best(trial, rung) + (median(gains) if gains else 0.0)


def _best(trial: FrozenTrial, rung: int) -> float:
    """Return the best score up to a rung."""
    return max(value for step, value in trial.intermediate_values.items() if step <= rung)
