"""What lies ready before any clock runs: the base model and the quick start's data as files.

This is the only part beside rung P that imports this project.
"""

import csv
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.ladder.job import Job
from benchmarks.ladder.points import POINTS
from sweeps.spec.load import read
from workers import data
from workers.families import git
from workers.files import cache
from workers.metrics.java.runtime import java
from workers.models import builtin
from workers.recipe import Recipe


def recipe() -> Recipe:
    """Return the quick start without its search."""
    return read("quickstart", ()).recipe


def write_data(folder: Path) -> Path:
    """Write the quick start's images, captions and split lists; return the folder."""
    folder.mkdir(parents=True)
    rows: list[tuple[str, str]] = []
    for split, samples in data.load(recipe().data).splits.items():
        for sample in samples:
            sample.open().save(folder / sample.id)
            rows += [(sample.id, caption) for caption in sample.captions]
        (folder / f"{split}.txt").write_text("".join(f"{sample.id}\n" for sample in samples))
    with (folder / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "caption"), *rows])
    return folder


def job(work: Path, data_folder: Path, trials: int, **settings: Any) -> Job:
    """Return a rung's job: the quick start's recipe and the first `trials` points."""
    own = recipe()
    return Job(
        work=str(work),
        data=str(data_folder),
        base=str(builtin.base_folder(own.model.base)),
        targets=git.FAMILY.TARGETS[own.adapter.targets],
        points=list(POINTS[:trials]),
        epochs=own.train.epochs,
        batch_size=own.train.batch_size,
        evaluation_batch=own.evaluate.usual_batch,
        dropout=own.adapter.dropout,
        warmup=own.train.warmup,
        max_new_tokens=own.evaluate.max_new_tokens,
        seed=own.train.seed,
        **settings,
    )


def fresh_cache(work: Path) -> dict[str, str]:
    """Return the variable that gives this project a new cache with nothing but the base in it.

    Otherwise a second run would find what the first one has worked out.
    """
    folder = builtin.base_folder(recipe().model.base)
    shutil.copytree(folder, work / "cache" / folder.name)
    return {cache.VARIABLE: str(work / "cache")}


def environment(options: Sequence[str] = ()) -> dict[str, str]:
    """Return the variables of a rung's process: Java on the PATH, and nothing of this session's.

    `options` are those of the Java machine; English numbers are always among them, for METEOR
    fails on a decimal comma.
    """
    dropped = ("OMP_NUM_THREADS", "RAY_ADDRESS", "MLFLOW_TRACKING_URI", "JAVA_TOOL_OPTIONS")
    kept = {key: value for key, value in os.environ.items() if key not in dropped}
    english = ("-Duser.language=en", "-Duser.country=US")
    return kept | {
        "PATH": os.pathsep.join([str(java().parent), os.environ["PATH"]]),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "JAVA_TOOL_OPTIONS": " ".join((*english, *options)),
        "RAY_AUTH_MODE": "disabled",  # else Ray writes a token into the home folder
        "RAY_USAGE_STATS_ENABLED": "0",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HF_HUB_OFFLINE": "1",
    }
