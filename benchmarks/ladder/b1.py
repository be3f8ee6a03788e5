"""B1, and with other numbers of processes B2, and with torch.compile B3: B0 made fast.

The same search. Its trainable is a class whose process goes on to the next trial
(`reuse_actors=True`) and keeps what trials share, see `benchmarks.ladder.fast_trial`.

    python -m benchmarks.ladder.b1 JOB.json
"""

import sys
import time
from typing import Any

from ray import tune

from benchmarks.ladder.job import Job
from benchmarks.ladder.stock_search import search


class FastTrial(tune.Trainable):
    """One trial; a step is an epoch."""

    def setup(self, config: dict[str, Any], job: Job) -> None:  # type: ignore[override]
        """Load what all trials share, and begin the first one."""
        started = time.perf_counter()  # before the heavy imports
        from benchmarks.ladder.fast_trial import Worker

        self._worker = Worker(job, started)
        self._trial = self._worker.begin(config)
        self._epochs, self._best = job.epochs, float("-inf")

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another trial in this process."""
        self._trial.end()
        self._trial, self._best = self._worker.begin(new_config), float("-inf")
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch and score it."""
        result = self._trial.epoch()
        if result["cider"] > self._best:
            self._best = result["cider"]
            self._trial.save(f"{self.logdir}/best")
        return {**result, "done": self._trial.epochs == self._epochs}


if __name__ == "__main__":
    search(Job.read(sys.argv[1]), FastTrial, reuse_actors=True)
