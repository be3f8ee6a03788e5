"""The search of B0 to B3: Ray Tune with OptunaSearch, ASHA and the MLflow callback.

As the documentation of Ray 2.60 has it, with these concessions to speed: no dashboard, and heavy
imports happen in the trials' processes only.
"""

import os
from typing import Any

import ray
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from benchmarks.ladder.job import EXPERIMENT, Job

SPACE = {
    "train.learning_rate": tune.loguniform(3e-4, 5e-2),
    "adapter.rank": tune.choice([2, 4, 8, 16]),
    "adapter.alpha": tune.choice([8, 16, 32]),
    "quantization": tune.choice(["none", "int8", "nf4"]),
}


def search(job: Job, trainable: Any, *, reuse_actors: bool = False) -> None:
    """Train all points of the job; what a trial reports goes to MLflow.

    `trainable` is a function or a Trainable that takes the job as its parameter ``job``.
    Raises RuntimeError, naming the first error, when a trial failed.
    """
    cores = len(os.sched_getaffinity(0))
    ray.init(address="local", include_dashboard=False, num_cpus=cores, num_gpus=job.gpus)
    share = {"cpu": cores / job.processes, "gpu": job.gpus / job.processes}
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(trainable, job=job), share),
        param_space=SPACE,
        tune_config=tune.TuneConfig(
            metric="cider",
            mode="max",
            search_alg=OptunaSearch(points_to_evaluate=job.points, seed=job.seed),
            scheduler=_scheduler(job),
            num_samples=len(job.points),
            max_concurrent_trials=job.processes,
            reuse_actors=reuse_actors,
        ),
        run_config=tune.RunConfig(
            name="ladder",
            storage_path=f"{job.work}/ray",
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[MLflowLoggerCallback(job.tracking, experiment_name=EXPERIMENT)],
        ),
    )
    errors = tuner.fit().errors
    if errors:
        raise RuntimeError(f"{len(errors)} of {len(job.points)} trials failed: {errors[0]}")


def _scheduler(job: Job) -> TrialScheduler:
    if not job.asha:
        return FIFOScheduler()  # type: ignore[no-untyped-call]
    return ASHAScheduler(max_t=job.epochs, grace_period=2, reduction_factor=3)
