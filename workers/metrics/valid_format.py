"""Share of answers that the Amazon ML Challenge 2024 takes: empty, or a number and a unit.

An answer is judged alone, without its question, so the unit may be one of any entity: ``34
gram`` is valid here even where a voltage is asked for. `sweeps predict` knows the question and
goes by the units of its entity. What the references say makes no difference.
"""

from workers.data.contest import parse
from workers.metrics.metric import Captions, Metric


def _compute(references: Captions, candidates: Captions) -> dict[str, float]:
    valid = [not answer or parse(answer) is not None for (answer,) in candidates.values()]
    return {"valid_format": sum(valid) / len(valid)}


METRIC = Metric(
    name="valid_format",
    outputs=("valid_format",),
    compute=_compute,
    reads="text",
    tasks=("vqa",),
)
