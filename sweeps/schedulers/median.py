"""Median stopping (Golovin et al. 2017, Google Vizier), Tune's own."""

import math
from typing import Any

from workers.recipe import Count

STOPS = True
PAUSES = False
CHANGES = False


def make(epochs: int, grace: int, reduction: int, *, samples: Count = 3) -> Any:
    """Return the median rule: from rung grace on, it stops a trial whose best is below the median.

    The median is that of the other trials' running means up to the same rung.

    Args:
        epochs: rungs of the longest trial; not needed.
        grace: rungs that every trial gets.
        reduction: not needed.
        samples: other trials that must have done the rung before one is stopped.
    """
    from ray.tune.schedulers import MedianStoppingRule

    class Median(MedianStoppingRule):
        """Accepts results of trials that continue although it decided to stop them.

        Tune's own raises AssertionError for them: unpruned trials have such results, and trials
        that are replayed after a resume.
        """

        def on_trial_result(self, tune_controller: Any, trial: Any, result: Any) -> str:
            self._stopped_trials.discard(trial)
            return str(super().on_trial_result(tune_controller, trial, result))

    # Without a time slice it would pause trials while there are fewer than `samples`.
    return Median(
        time_attr="rung",
        grace_period=grace,
        min_samples_required=samples,
        min_time_slice=math.inf,  # type: ignore[arg-type]
    )
