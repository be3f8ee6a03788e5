"""Asynchronous successive halving for several objectives (MO-ASHA, Schmucker et al. 2021)."""

from collections.abc import Sequence
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from sweeps.pareto import costs, fronts, order


class MultiObjectiveAsha(FIFOScheduler):
    """Stops a trial that others dominate at its rung, unless it is among the best of these.

    At rung grace, grace * reduction, ... a trial continues if none has dominated it there so far,
    or if it is among the best 1 / reduction by non-dominated sorting. Unlike in the paper no trial
    on the front is stopped: with a front of many trials the fraction would cut into it.
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
        """Decide whether a trial continues after a rung."""
        seen, values = self._rungs.get(result.get("rung", 0)), result.get("objectives")
        if seen is None or values is None or trial.trial_id in seen:
            return str(TrialScheduler.CONTINUE)
        seen[trial.trial_id] = values
        found, last = costs(list(seen.values()), self._modes), len(seen) - 1
        if last in fronts(found)[0] or order(found).index(last) < len(seen) / self._reduction:
            return str(TrialScheduler.CONTINUE)
        return str(TrialScheduler.STOP)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Keep the last rung of a trial that ended by itself."""
        self.on_trial_result(tune_controller, trial, result)
