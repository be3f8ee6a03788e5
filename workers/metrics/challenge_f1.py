"""The F1 of the Amazon ML Challenge 2024, for answers such as ``34 gram`` or none at all.

By its rule an answer that is not empty is a true positive when it equals the truth, and else a
false positive, also where the truth is empty; an empty answer is a false negative where the
truth is not. Texts are compared as they are written: ``34 gram`` is not ``34.0 gram``.
"""

from workers.metrics.metric import Array, Metric, each


def _row(truths: list[str], answer: str) -> tuple[bool, bool, bool]:
    """Return whether it is a true positive, a false positive, a false negative."""
    right = answer in truths
    return right and bool(answer), not right and bool(answer), not right and not answer


def _pool(totals: Array) -> dict[str, Array]:
    """Return the F1 over all questions; 0 where no answer is right, even if none is expected."""
    hits, wrong = 2 * totals[..., 0], totals[..., 1] + totals[..., 2]
    return {"challenge_f1": hits / (hits + wrong + (hits == 0))}


METRIC = Metric(
    name="challenge_f1",
    outputs=("challenge_f1",),
    bind=each(_row),
    pool=_pool,
    reads="text",
    tasks=("vqa",),
)
