"""P: this system, `sweeps run` with the ladder's points.

The quick start with these changes: images come from the same files as for the other rungs, the
points are given, nothing is promoted, a diverged trial goes on to its end as elsewhere, and a
finished trial's adapter is scored greedily, as every rung is. It still does what the others do not:
scores of the base itself, a snapshot after each rung, a last scoring of each trial's best
adapter, scores per image, predictions and example images in MLflow, a leaderboard.

    python -m benchmarks.ladder.p JOB.json
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

from benchmarks.ladder.job import EXPERIMENT, Job


def changes(job: Job) -> Mapping[str, Any]:
    """Return dotted field of the quick start's file -> its value here."""
    split = {name: f"{name}.txt" for name in ("train", "validation", "test")}
    asha = {"name": "asha", "grace": 2, "reduction": 3, "unpruned": 0}
    return {
        "data": {"source": "folder", "path": job.data, "split": split},
        "evaluate.metrics": ["bleu", "meteor", "rouge_l", "cider"],
        "evaluate.final_beams": 1,
        "guard.stop": False,
        "search.start": job.points,
        "search.trials": len(job.points),
        "schedule": asha if job.asha else {"name": "fifo"},
        "resources.hosts": job.processes or "auto",
        "tracking.experiment": EXPERIMENT,
        "promote": None,
    }


def main(job: Job) -> None:
    """Run the sweep as the command line does; its store is the job's ``tracking``."""
    from sweeps.cli import app

    sets = [f"--set={field}={json.dumps(value)}" for field, value in changes(job).items()]
    sys.argv = ["sweeps", "run", "quickstart", "--results", job.work, "--fresh", *sets]
    app.main()


if __name__ == "__main__":
    main(Job.read(sys.argv[1]))
