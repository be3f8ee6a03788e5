"""CIDEr-D (Vedantam et al. 2015): tf-idf weighted n-gram similarity, mean over the images.

What the COCO evaluation calls CIDEr is CIDEr-D, with clipped counts and a Gaussian penalty on
length. Its document frequencies come from the references at hand: values are comparable only on
the same set of images, and a set of one image scores 0 whatever its caption.
"""

from workers.metrics.metric import Bound, Captions, Metric
from workers.metrics.rows import ratio


def _bind(references: Captions, whole: Captions) -> Bound:
    from workers.metrics.cider_d import CiderD  # here, because the catalog must stay light

    return Bound(rows=CiderD(references, documents=references).rows)


METRIC = Metric(name="cider", outputs=("cider",), bind=_bind, pool=ratio("cider"), high=10.0)
