"""Data sources: one file and one line here per source.

A module whose source is text files and images offers ``describe(data: Data) -> Description``, any
other one ``load(data: Data, reading: Reading) -> DataSet`` and ``files(data: Data) -> DataFiles``.
In ``OPTIONS`` it names those fields of `Data` that it uses and not every source does. Nothing heavy
is imported until a source is loaded, so a sweep file can be checked against `NAMES` in
milliseconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from workers.files import fetched
from workers.recipe import Data

if TYPE_CHECKING:
    from workers.data.contents import Reading
    from workers.data.sample import DataFiles, DataSet

MODULES = {
    "amazon-vqa": "workers.data.amazon_vqa",
    "coco": "workers.data.coco",
    "csv": "workers.data.csv_files",
    "flickr8k": "workers.data.flickr8k",
    "folder": "workers.data.folder",
    "huggingface": "workers.data.huggingface",
    "karpathy": "workers.data.karpathy",
    "shapes": "workers.data.shapes",
}
NAMES = tuple(MODULES)
SPECIAL = ("revision", "images", "columns", "allow_private_links", "allow_redirected_links")
"""Fields of `Data` that only some sources use."""


def load(data: Data, reading: "Reading | None" = None) -> "DataSet":
    """Load the data set that `data` describes, from its source.

    Its images are decoded, or read as the `reading` says. Raises ValueError for an unknown source,
    a field that it does not use, or an address that cannot be fetched, and
    `workers.data.sample.DataError` for a set that cannot be used.
    """
    module = _module(data)
    if data.path is not None:
        data = data.model_copy(update={"path": fetched.local(data.path, "data.path")})
    from workers.data.contents import DECODED

    reading = reading or DECODED
    if not hasattr(module, "describe"):
        return cast("DataSet", module.load(data, reading))
    from workers.data.entries import load_entries

    return load_entries(module.describe(data), reading)


def files(data: Data) -> "DataFiles":
    """List the local files that `load` reads, without opening an image.

    Loaded from these files alone, the data set is the same. Raises as `load` does for a table that
    cannot be used; bad rows and missing images are among `DataFiles.problems`.
    """
    module = _module(data)
    if not hasattr(module, "describe"):
        return cast("DataFiles", module.files(data))
    from workers.data.entries import local_files

    return local_files(module.describe(data))


def _module(data: Data) -> Any:
    """Return the module of a source; refuse a field that is set and that it ignores."""
    if data.source not in MODULES:
        raise ValueError(
            f"data.source must be one of {', '.join(sorted(MODULES))}; got {data.source!r}"
        )
    module = import_module(MODULES[data.source])
    unused = [name for name in SPECIAL if name not in getattr(module, "OPTIONS", ())]
    for name in unused:
        if getattr(data, name) != Data.model_fields[name].get_default():
            raise ValueError(f"data.{name} must be left out: the source {data.source} ignores it")
    return module
