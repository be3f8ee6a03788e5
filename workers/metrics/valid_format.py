"""Share of answers that the Amazon ML Challenge 2024 takes: empty, or a number and a unit.

An answer is judged alone, without its question, so the unit may be one of any entity: ``34
gram`` is valid here even where a voltage is expected. `sweeps predict` knows the question and
goes by the units of its entity. The references make no difference.
"""

from workers.data.contest import parse
from workers.metrics.metric import ratio_metric


def _row(truths: list[str], answer: str) -> tuple[float, float]:
    return not answer or parse(answer) is not None, 1.0


METRIC = ratio_metric("valid_format", _row, reads="text", tasks=("vqa",))
