"""The searches that are compared: Tune's own OptunaSearch, and ours as the driver runs it."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from ray.tune.search.optuna import OptunaSearch

import sweeps
from benchmarks.recorded import RATE, Table
from benchmarks.told import Told
from sweeps.spec import load, starts
from sweeps.spec.sweep import Sweep
from sweeps.study.suggester import Suggester

Point = dict[str, Any]
QUICK_START = Path(sweeps.__file__).parent / "recipes" / "quickstart.yaml"


def quick_start(table: Table, seed: int, overrides: Sequence[str] = ()) -> Sweep:
    """Return the quick start's sweep over the table's space, changed by `overrides`."""
    space = {field: domain.form() for field, domain in table.space().items()}
    own = [f"search.space={json.dumps(space)}", f"search.sampler.seed={seed}", *overrides]
    return load.load(QUICK_START, own)


class Ours(Told):
    """The sweep's points as the driver draws them, and states told as the bridge tells them.

    On a study in memory: a journal file would cost more than the search.
    """

    def __init__(self, sweep: Sweep) -> None:
        super().__init__()
        for point in starts.points(sweep):
            self.study.enqueue_trial(point)
        self._suggester = Suggester(self.study, sweep)

    def suggest(self, trial_id: str) -> Point | None:
        """Return the point of a new trial; None when a finite space is exhausted."""
        drawn = self._suggester.next()
        if drawn is None:
            return None
        self.trials[trial_id] = drawn.trial
        return drawn.point


class RelativeRate(Ours):
    """Searches the learning rate times alpha, which is what an update grows with."""

    ALPHA = 16.0
    """At this alpha the rate that is drawn is the point's own."""

    def suggest(self, trial_id: str) -> Point | None:
        """Return the next point with its own learning rate."""
        point = super().suggest(trial_id)
        if point is None:
            return None
        return {**point, RATE: point[RATE] * self.ALPHA / point["adapter.alpha"]}


def stock(table: Table, seed: int, startup: int = 10, start: Sequence[Point] = ()) -> Any:
    """Return Tune's OptunaSearch over the same space, with the sampler that it makes itself."""
    logging.getLogger("ray.tune.search.optuna").setLevel(logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup)
    return OptunaSearch(
        space=table.space().suggest, metric="objective", mode="max",
        sampler=sampler, points_to_evaluate=list(start),
    )  # fmt: skip
