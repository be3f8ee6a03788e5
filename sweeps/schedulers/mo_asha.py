"""Asynchronous successive halving for several objectives (MO-ASHA, Schmucker et al. 2021)."""

from collections.abc import Sequence
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from sweeps.pareto import costs, fronts, order


class MultiObjectiveAsha(FIFOScheduler):
    """Stops a trial that others dominate at its rung, unless it is among the best of these.

    At rung grace, grace * reduction, ... a trial goes on that nobody has dominated there so far,
    or that is among the best 1 / reduction by non-dominated sorting. That nobody on the front is
    stopped is stricter than the paper: with a front of many trials its share would cut into it.
    """

    def __init__(self, modes: Sequence[str], epochs: int, grace: int, reduction: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._modes = tuple(modes)
        self._reduction = reduction
        self._rungs: dict[int, dict[str, Sequence[float]]] = {}
        """Rung -> trial -> its objectives there."""
        rung = float(grace)
        while rung < epochs:
            self._rungs[int(rung)] = {}
            rung *= reduction

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide whether a trial goes on after a rung."""
        seen, values = self._rungs.get(result.get("rung", 0)), result.get("objectives")
        if seen is None or values is None or trial.trial_id in seen:
            return str(TrialScheduler.CONTINUE)
        seen[trial.trial_id] = values
        goes_on = self._goes_on(list(seen.values()))
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Remember the last rung of a trial that ended by itself."""
        self.on_trial_result(tune_controller, trial, result)

    def _goes_on(self, values: Sequence[Sequence[float]]) -> bool:
        """Decide for the last of the results of a rung."""
        found, last = costs(values, self._modes), len(values) - 1
        if last in fronts(found)[0]:
            return True
        return order(found).index(last) < len(values) / self._reduction
