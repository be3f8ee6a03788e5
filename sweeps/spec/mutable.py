"""Which fields of a trial may change while it trains."""

from collections.abc import Collection, Mapping
from typing import Any

from search_spaces.space import Space
from search_spaces.values import is_number
from sweeps.spec import plugins
from sweeps.spec.sweep import Sweep

CHANGEABLE = (
    "train.learning_rate", "train.vision_learning_rate", "train.projector_learning_rate",
    "train.lora_plus_ratio", "train.weight_decay", "train.batch_size", "train.accumulate",
    "train.max_grad_norm", "train.label_smoothing", "train.decay", "adapter.dropout",
)  # fmt: skip
"""Fields that may change while a trial is trained: each acts on the steps to come alone."""


def why_fixed(path: str) -> str:
    """Return why a field that is none of `CHANGEABLE` may not change while a trial is trained."""
    if path.startswith(("adapter.", "model.")) or path == "quantization":
        return "it belongs to the weights, which come from the donor together with it"
    if path.startswith("train.warmup") or path == "train.seed":
        return "it decides how a trial begins"
    return "it acts on no step of the training to come"


def mutable_fields(space: Space, named: Collection[str] | None) -> tuple[str, ...]:
    """Return the fields to perturb: the named ones, or all that are swept and may change."""
    wanted = CHANGEABLE if named is None else named
    return tuple(path for path in space if path in wanted)


def mutable_metrics(sweep: Sweep, point: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a point that may change in mid-training, as metrics of a rung.

    Such as ``point/train.learning_rate``; none where the scheduler changes no point.
    """
    schedule = sweep.schedule
    if not plugins.scheduler(schedule.name).CHANGES:
        return {}
    fields = mutable_fields(sweep.search.space, schedule.options.get("fields"))
    values = {path: point[path] for path in fields if path in point}
    return {f"point/{path}": float(value) for path, value in values.items() if is_number(value)}
