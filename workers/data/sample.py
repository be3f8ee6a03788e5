"""The values that every data source returns, and the error for a data set that cannot be used."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

SPLITS = ("train", "validation", "test")


class DataError(ValueError):
    """A data set that cannot be used.

    `problems` holds one line per bad image, caption or row, by name; it is empty when the
    whole set is at fault.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)

    @classmethod
    def listing(cls, path: str, problems: Sequence[str]) -> "DataError":
        """Return the error that lists all `problems` of the set at `path`, and the fix."""
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = "".join(f"\n  {problem}" for problem in problems)
        fix = "Fix them, or leave them out with data.on_bad_sample: skip."
        return cls(f"data.path {path} has {count}:{lines}\n{fix}", problems)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One image with its reference captions, or with a question and its answers."""

    id: str
    """Unique in the data set and stable over runs, such as a file name."""
    open: "Callable[[], Image.Image]"
    """Decodes the image: mode RGB, upright (EXIF orientation applied)."""
    captions: tuple[str, ...]
    """References, or answers to the question; empty only in the test split, for images whose
    captions are not known (the test file of a contest)."""
    question: str | None = None
    """What is asked about the image; None when it is to be captioned."""
    digest: str | None = None
    """SHA-256 of the encoded image; None for a drawn one."""
    size: tuple[int, int] | None = None
    """Width and height in pixels, upright; None for a drawn one."""


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
    overlaps: tuple[str, ...] = ()
    """Those of the problems that are images of two splits."""
    remarks: tuple[str, ...] = ()
    """What was taken as it is, and may surprise, one line each."""


@dataclass(frozen=True, kw_only=True)
class DataFiles:
    """The files of this machine that a data set is loaded from."""

    tables: tuple[Path, ...] = ()
    """Text files and data sets in one file, as ``data.path`` leads to them."""
    images: tuple[Path, ...] = ()
    """The images that the tables name and that are there."""
    problems: tuple[str, ...] = ()
    """Bad rows and missing images, one line each, by name; images are not opened for this."""
