"""A study that is told of its trials as the bridge tells it."""

from typing import Any

import optuna
from optuna.trial import TrialState


class Told:
    """A search's study in memory, and its trials that run, by the ids of who runs them."""

    def __init__(self) -> None:
        self.study = optuna.create_study(direction="maximize")
        self.trials: dict[str, optuna.Trial] = {}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Keep the objective of a rung."""
        self.trials[trial_id].report(result["objective"], result["rung"])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any]) -> None:
        """Tell COMPLETE with the best score, or PRUNED with that of every rung."""
        self.on_trial_result(trial_id, result)
        state = TrialState.COMPLETE if result["finished"] else TrialState.PRUNED
        value = result["best"] if result["finished"] else None
        self.study.tell(self.trials.pop(trial_id), value, state=state)
