"""Whether another trial may start: as many at a time as there are slots, within the budget."""

from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from sweeps.results.budget import Spent


class Admission(Searcher):
    """Asks the bridge for a trial only when one may start, and passes all it hears on to it.

    Tune's own limiter counts a paused trial as one that runs: a scheduler that lets trials wait
    for each other would never see the trials that they wait for.
    """

    def __init__(self, bridge: Searcher, slots: Callable[[], int], spent: Spent) -> None:
        """Take how many slots there are, which changes when nodes join or leave."""
        super().__init__()
        self._bridge = bridge
        self._slots = slots
        self._spent = spent
        self._running: dict[str, dict[str, Any] | None] = {}
        """Tune's id of a trial that holds a slot or waits for one -> its last result."""
        self._paused: dict[str, dict[str, Any] | None] = {}

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Say that Tune's limiter has nothing to do."""
        return True

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Ask the bridge."""
        return self._bridge.set_search_properties(metric, mode, config, **spec)

    def suggest(  # type: ignore[override]  # Tune's own type leaves FINISHED out
        self, trial_id: str
    ) -> dict[str, Any] | str | None:
        """Return the bridge's next trial; None while no slot is free."""
        if self._spent.used_up:
            return str(Searcher.FINISHED)
        if len(self._running) >= self._slots():
            return None
        config = self._bridge.suggest(trial_id)
        if isinstance(config, dict):
            self._running[trial_id] = None
        return config

    def on_pause(self, trial_id: str) -> None:
        """Take a trial's slot away."""
        self._paused[trial_id] = self._running.pop(trial_id, None)

    def on_unpause(self, trial_id: str) -> None:
        """Take a trial that is to go on: it has or awaits a slot."""
        self._running[trial_id] = self._paused.pop(trial_id, None)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass a rung on."""
        for trials in (self._running, self._paused):
            if trial_id in trials:
                trials[trial_id] = result
        self._bridge.on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass the end of a trial on; Tune has no result of one that is stopped while paused."""
        waiting, running = self._paused.pop(trial_id, None), self._running.pop(trial_id, None)
        self._bridge.on_trial_complete(trial_id, result or waiting or running, error)

    def save(self, checkpoint_path: str) -> None:
        """Do as the bridge does."""
        self._bridge.save(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """Do as the bridge does."""
        self._bridge.restore(checkpoint_path)
