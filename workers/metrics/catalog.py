"""All metrics by name: one line each.

Importing this module loads neither pycocoevalcap nor torch, so a sweep file is checked against
it in milliseconds.
"""

from collections.abc import Iterable, Mapping

from workers.metrics import (
    anls,
    bleu,
    challenge_f1,
    cider,
    distinct_captions,
    exact_match,
    length_ratio,
    meteor,
    numeric_match,
    repetition,
    rouge_l,
    valid_format,
    word_error_rate,
)
from workers.metrics.metric import Metric

VERSION = 1
"""Counts up when any metric gives other scores than before: they do not compare with these."""

METRICS: Mapping[str, Metric] = {
    "bleu": bleu.METRIC,
    "meteor": meteor.METRIC,
    "rouge_l": rouge_l.METRIC,
    "cider": cider.METRIC,
    "cider_fixed_idf": cider.FIXED_IDF,
    "exact_match": exact_match.METRIC,
    "word_error_rate": word_error_rate.METRIC,
    "distinct_captions": distinct_captions.METRIC,
    "length_ratio": length_ratio.METRIC,
    "repetition": repetition.METRIC,
    "challenge_f1": challenge_f1.METRIC,
    "valid_format": valid_format.METRIC,
    "numeric_match": numeric_match.METRIC,
    "anls": anls.METRIC,
}


def get(name: str) -> Metric:
    """Return the metric called `name`; raises ValueError for an unknown one."""
    if name not in METRICS:
        raise ValueError(f"a metric must be one of {', '.join(METRICS)}; got {name!r}")
    return METRICS[name]


def too_few_images(names: Iterable[str], images: int) -> str | None:
    """Return what is lost where so few images are scored, None where nothing is."""
    lost = [name for name in names if images < get(name).least]
    if not lost:
        return None
    return (
        f"{' and '.join(lost)} of {images} image{'s' if images > 1 else ''} is 0 whatever the "
        "captions: how rare words are is counted over the images that are scored. Score at least "
        "2, better 50: see data.split and evaluate.limit"
    )


def blind_objective(objectives: Iterable[str], names: Iterable[str], images: int) -> str | None:
    """Return why objectives tell no trials apart where so few images are scored, or None."""
    few = too_few_images(names, images)
    if few is None or not {*objectives} <= {"cider"}:
        return None
    return f"search.objective tells no trials apart: {few}"


def outputs(names: Iterable[str]) -> tuple[str, ...]:
    """Return the keys that the metrics `names` yield, such as ``bleu_1``, in that order.

    Raises ValueError for an unknown name.
    """
    return tuple(output for name in names for output in get(name).outputs)
