"""CIDEr-D whose document frequencies are those of the whole validation split.

`cider` takes them from the images that are scored, and so flatters a small set of images: on 20
of 1000 it is 0.06 higher than on all of them. Fixed, the values of subsets of different sizes
can be compared. It equals `cider` where the whole split is scored.
"""

from workers.metrics.metric import Bound, Captions, Metric
from workers.metrics.rows import ratio


def _bind(references: Captions, whole: Captions) -> Bound:
    from workers.metrics.cider_d import CiderD  # here, because the catalog must stay light

    return Bound(rows=CiderD(references, documents=whole).rows)


METRIC = Metric(
    name="cider_fixed_idf",
    outputs=("cider_fixed_idf",),
    bind=_bind,
    pool=ratio("cider_fixed_idf"),
    whole=True,
    high=10.0,
)
