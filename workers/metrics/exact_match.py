"""Share of images whose caption or answer is one of their references.

Up to case and white space, and nothing else: "12.5 gram" is not "125 gram".
"""

from workers.metrics.metric import ratio_metric
from workers.metrics.texts import plain


def _row(references: list[str], caption: str) -> tuple[float, float]:
    return plain(caption) in map(plain, references), 1.0


METRIC = ratio_metric("exact_match", _row, reads="text", tasks=("captioning", "vqa"))
