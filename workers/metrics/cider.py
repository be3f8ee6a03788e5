"""CIDEr-D (Vedantam et al. 2015): tf-idf weighted n-gram similarity, mean over the images.

What the COCO evaluation calls CIDEr is CIDEr-D, with clipped counts and a Gaussian penalty on
length. Its document frequencies come from the references at hand: values are comparable only on
the same set of images, and a set of one image scores 0 whatever its caption.
"""

from workers.metrics.metric import Captions, Metric


def _compute(references: Captions, candidates: Captions) -> dict[str, float]:
    from pycocoevalcap.cider.cider import Cider  # here, because the catalog must stay light

    value, _ = Cider().compute_score(references, candidates)
    return {"cider": float(value)}


METRIC = Metric(name="cider", outputs=("cider",), compute=_compute, high=10.0)
