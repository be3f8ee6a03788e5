"""Share of answers that the Amazon ML Challenge 2024 takes: empty, or a number and a unit.

An answer is judged alone, without its question, so the unit may be one of any entity: ``34
gram`` is valid here even where a voltage is asked for. `sweeps predict` knows the question and
goes by the units of its entity. What the references say makes no difference.
"""

from workers.data.contest import parse
from workers.metrics.metric import Metric
from workers.metrics.rows import each, ratio


def _row(truths: list[str], answer: str) -> tuple[float, float]:
    return not answer or parse(answer) is not None, 1.0


METRIC = Metric(
    name="valid_format",
    outputs=("valid_format",),
    bind=each(_row),
    pool=ratio("valid_format"),
    reads="text",
    tasks=("vqa",),
)
