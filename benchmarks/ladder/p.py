"""P: this system, `sweeps run` with the ladder's points.

The quick start's file with these changes: images come from the same files as for the other rungs,
the points are given, nothing is promoted, a diverged trial goes on to its end as elsewhere, and
a finished trial's adapter is scored greedily, as every rung is. It still does what the others do
not: scores of the base itself, a snapshot after each rung, a last scoring of each trial's best
adapter, scores per image, predictions and example images in MLflow, a leaderboard.
"""

import sys
from pathlib import Path
from typing import Any

import yaml

from benchmarks.ladder.job import EXPERIMENT, Job
from benchmarks.ladder.prepare import quick_start


def sweep_file(job: Job) -> dict[str, Any]:
    """Return the sweep file of a job."""
    file = quick_start()
    file.pop("promote")
    splits = ("train", "validation", "test")
    file["data"] = {
        "source": "folder", "path": job.data, "split": {name: f"{name}.txt" for name in splits},
    }  # fmt: skip
    file["evaluate"] |= {"metrics": ["bleu", "meteor", "rouge_l", "cider"], "final_beams": 1}
    file["guard"] = {"stop": False}
    file["search"] |= {"start": job.points, "trials": len(job.points)}
    asha = {"name": "asha", "grace": 2, "reduction": 3, "unpruned": 0}
    file["schedule"] = asha if job.asha else {"name": "fifo"}
    file["tracking"] = {"uri": job.tracking, "experiment": EXPERIMENT}
    return file


def main(job: Job) -> None:
    """Run the sweep as the command line does."""
    from sweeps import cli

    work = Path(job.work)
    file = work / "sweep.yaml"
    file.write_text(yaml.safe_dump(sweep_file(job), sort_keys=False))
    sys.argv = ["sweeps", "run", str(file), "--results", str(work / "results"), "--fresh"]
    cli.main()


if __name__ == "__main__":
    main(Job.read(sys.argv[1]))
