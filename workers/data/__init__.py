"""Data sources: one file and one line here per source.

Each module offers ``load(data: Data) -> DataSet``. Nothing heavy is imported until a source
is loaded, so a sweep file can be checked against `NAMES` in milliseconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, cast

from workers.recipe import Data

if TYPE_CHECKING:
    from workers.data.sample import DataSet

MODULES = {
    "folder": "workers.data.folder",
    "huggingface": "workers.data.huggingface",
    "shapes": "workers.data.shapes",
}
NAMES = tuple(MODULES)


def load(data: Data) -> "DataSet":
    """Load the data set that `data` describes, from its source.

    Raises ValueError for an unknown source, and `workers.data.problems.DataError` for a set
    that cannot be used.
    """
    if data.source not in MODULES:
        raise ValueError(
            f"data.source must be one of {', '.join(sorted(MODULES))}; got {data.source!r}"
        )
    return cast("DataSet", import_module(MODULES[data.source]).load(data))
