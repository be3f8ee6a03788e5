"""CIDEr-D (Vedantam et al. 2015): tf-idf weighted n-gram similarity, mean over the images.

The COCO evaluation's CIDEr is CIDEr-D, with clipped counts and a Gaussian penalty on length. Its
document frequencies come from the references at hand: values are comparable only on the same set
of images, and a set of one image scores 0 whatever its caption.

On a small set of images that is flattering: 20 of 1000 score 0.06 higher than all of them. The
document frequencies of ``cider_fixed_idf`` are those of the whole validation split, so the values
of subsets of different sizes can be compared. It equals ``cider`` where the whole split is scored.
"""

from workers.metrics.metric import Bound, Captions, Metric, ratio


def _bind(references: Captions, documents: Captions) -> Bound:
    from workers.metrics.cider_d import CiderD  # here, because the catalog must stay light

    return Bound(CiderD(references, documents).rows)


METRIC = Metric(
    name="cider",
    outputs=("cider",),
    bind=lambda references, whole: _bind(references, references),
    pool=ratio("cider"),
    least=2,
    high=10.0,
)
FIXED_IDF = Metric(
    name="cider_fixed_idf",
    outputs=("cider_fixed_idf",),
    bind=_bind,
    pool=ratio("cider_fixed_idf"),
    whole=True,
    high=10.0,
)
