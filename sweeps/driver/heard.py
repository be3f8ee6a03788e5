"""What Tune has heard of a trial, kept where whoever goes on with the trial reads it."""

from collections.abc import Sequence
from typing import Any

from ray import tune

from sweeps.trial import HEARD


class Heard(tune.Callback):
    """Keeps the last rung that Tune has heard of in the trial's config.

    A process gets the config when it begins with a trial: the first one, one after its death, one
    after the trial waited for others. It tells Tune the rungs on record that come after that one.
    The driver keeps it because only there it is certain: a process that returned a rung may die
    before Tune has got it, or right after. Tune would have each process save it at each rung, a
    checkpoint of its own for one number.
    """

    def on_trial_result(
        self, iteration: int, trials: Sequence[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        """Take a rung; a trial that cannot go on tells none."""
        if "rung" in result:
            trial.set_config({**trial.config, HEARD: result["rung"]})
