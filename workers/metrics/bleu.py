"""BLEU-1 to BLEU-4 (Papineni et al. 2002): clipped n-gram precision over the whole corpus."""

from workers.metrics.metric import Captions, Metric

OUTPUTS = ("bleu_1", "bleu_2", "bleu_3", "bleu_4")


def _compute(references: Captions, candidates: Captions) -> dict[str, float]:
    """Return BLEU with the closest reference length, as the COCO evaluation does."""
    from pycocoevalcap.bleu.bleu import Bleu  # here, because the catalog must stay light

    values, _ = Bleu(len(OUTPUTS)).compute_score(references, candidates, verbose=0)
    return dict(zip(OUTPUTS, map(float, values), strict=True))


METRIC = Metric(name="bleu", outputs=OUTPUTS, compute=_compute)
