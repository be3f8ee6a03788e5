"""What a trial's run in MLflow is made of: names, and the statuses of the ways in which it ends."""

import math
from collections.abc import Collection, Mapping
from typing import Any

from sweeps.trial import Ending
from workers.measures import PREFIX

EXAMPLE_IMAGES = 2
"""Validation images whose captions are shown at rung 0 and at a trial's end."""


STATUS: Mapping[Ending, str] = {
    "completed": "FINISHED",
    "stopped": "KILLED",
    "failed": "FAILED",
    "failed-by-guard": "FAILED",
    "interrupted": "KILLED",
}
"""MLflow's run status for each of them."""

PREDICTIONS = "eval/predictions.json"
"""The same name in every trial: MLflow compares tables of one name side by side."""
RUNG_SECONDS = "time/rung_seconds"
"""A metric of every rung: it tells which rungs are stored."""
BEST_RUNG = "best/rung"


def best_metrics(metrics: Mapping[str, float], rung: int) -> dict[str, float]:
    """Return the metrics of a best rung as MLflow shows them, with the number of the rung."""
    return {**best_keys(metrics), BEST_RUNG: rung}


def best_keys(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return scores and measures under ``best/``: ``val/cider`` becomes ``best/cider``."""
    return {
        f"best/{key.removeprefix(prefix)}": value
        for key, value in metrics.items()
        for prefix in ("val/", PREFIX)
        if key.startswith(prefix)
    }


def with_log10(params: Mapping[str, Any], logarithmic: Collection[str]) -> dict[str, str]:
    """Return `params` as text, with ``<name>_log10`` beside each one in `logarithmic`.

    They are logged a second time because MLflow's axes are linear.
    """
    logs = {
        f"{name}_log10": f"{math.log10(params[name]):.4f}" for name in logarithmic if name in params
    }
    return {**{name: str(value) for name, value in params.items()}, **logs}
