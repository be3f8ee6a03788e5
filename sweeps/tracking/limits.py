"""MLflow's limits: names and values that it would refuse are made to fit.

A value that is cut says so, and stands whole in a file of the run.
"""

import posixpath
import re
import zlib
from collections.abc import Mapping
from typing import TypeVar

PARAM_CHARACTERS, TAG_CHARACTERS, NAME_CHARACTERS = 6000, 8000, 250
"""MLflow's own limits, as its client has them in `mlflow.utils.validation`."""
_REFUSED = re.compile(r"[^/\w.\- :]")
_NO_FILE = re.compile(r"[^\w.\-]")
_MARK = " ... [cut; all {characters} characters are in {path}]"

T = TypeVar("T")


def name(written: str) -> str:
    """Return a name that MLflow takes: the same one, or one that only `written` becomes."""
    fit = _REFUSED.sub("_", written)
    # MLflow takes no name that would be another one as a path, such as ``a//b`` or ``../a``.
    if posixpath.normpath(fit) != fit or fit.startswith(("..", "/")) or fit == ".":
        fit = "_".join(part for part in fit.split("/") if part).lstrip(".")
    if fit and fit == written and len(fit) <= NAME_CHARACTERS:
        return fit
    return f"{fit[: NAME_CHARACTERS - 9]}_{zlib.crc32(written.encode()):08x}"


def names(values: Mapping[str, T]) -> dict[str, T]:
    """Return values by names that MLflow takes."""
    return {name(key): value for key, value in values.items()}


def fit(values: Mapping[str, str], characters: int) -> tuple[dict[str, str], dict[str, str]]:
    """Return parameters or tags that fit, and the whole values of cut ones by the file's path."""
    fitting, whole = {}, {}
    for key, value in values.items():
        key = name(key)
        if len(value) > characters:
            path = f"cut/{_NO_FILE.sub('_', key)}.txt"
            whole[path] = value
            mark = _MARK.format(characters=len(value), path=path)
            value = value[: characters - len(mark)] + mark
        fitting[key] = value
    return fitting, whole
