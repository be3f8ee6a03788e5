"""The values that every data source returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One image with its reference captions, or with a question and its answers."""

    id: str
    """Unique in the data set and stable over runs, such as a file name."""
    open: Callable[[], Image.Image]
    """Decodes the image: mode RGB, upright (EXIF orientation applied)."""
    captions: tuple[str, ...]
    """References, or answers to the question; empty only in the test split, for images whose
    captions are not known (the test file of a contest)."""
    question: str | None = None
    """What is asked about the image; None when it is to be captioned."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """All splits of one data set; no image is in two of them, though several samples of one
    split may ask about the same image."""

    splits: Mapping[str, tuple[Sample, ...]]
    """Keys are `SPLITS`; test may be empty and is in the order of the source."""
    digest: str
    """Hex hash over ids, captions, questions and image bytes of all splits, and which is where."""
    problems: tuple[str, ...] = ()
    """What was skipped and why, one line each, by name."""


@dataclass(frozen=True, kw_only=True)
class DataFiles:
    """The files of this machine that a data set is loaded from."""

    tables: tuple[Path, ...] = ()
    """Text files and data sets in one file, as ``data.path`` leads to them."""
    images: tuple[Path, ...] = ()
    """The images that the tables name and that are there."""
    problems: tuple[str, ...] = ()
    """Bad rows and missing images, one line each, by name; images are not opened for this."""
