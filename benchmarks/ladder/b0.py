"""B0: what the documentation of the libraries leads to, put together; nothing held back.

Ray Tune (Tuner, a function per trial, OptunaSearch, ASHA, `MLflowLoggerCallback`), a process per
trial, Hugging Face Trainer with peft's `get_peft_model`, and at the end of each epoch validation
loss, captions by `generate`, and pycocoevalcap composed as its `COCOEvalCap.evaluate` does.

B0m is the same but for one line: METEOR's Java, which loads for seconds, lives as long as a trial.

    python -m benchmarks.ladder.b0 JOB.json
"""

import sys
import time
from typing import Any

from benchmarks.ladder.job import Job
from benchmarks.ladder.stock_search import search


def trial(config: dict[str, Any], job: Job) -> None:
    """Train one point in this process, reporting after each epoch."""
    started = time.perf_counter()  # before the heavy imports
    from benchmarks.ladder.stock_trial import train

    train(config, job, started)


if __name__ == "__main__":
    search(Job.read(sys.argv[1]), trial)
