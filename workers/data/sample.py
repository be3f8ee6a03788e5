"""The values that every data source returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PIL import Image

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One image with its reference captions."""

    id: str
    """Unique in the data set and stable over runs, such as a file name."""
    open: Callable[[], Image.Image]
    """Decodes the image: mode RGB, upright (EXIF orientation applied)."""
    captions: tuple[str, ...]
    question: str | None = None
    """What is asked about the image, for task vqa."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """All splits of one data set; no image is in two of them."""

    splits: Mapping[str, tuple[Sample, ...]]
    """Keys are `SPLITS`; test may be empty."""
    digest: str
    """Hex hash over ids, captions and image bytes of all splits, and over which is where."""
    problems: tuple[str, ...] = ()
    """What was skipped and why, one line each, by name."""
