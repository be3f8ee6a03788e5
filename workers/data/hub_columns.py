"""Which columns of a Hugging Face data set hold what: as configured, or by type and name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import datasets

from workers.data.problems import DataError
from workers.recipe import Columns

IMAGE_NAMES = ("image", "img")
"""Columns taken as the image where none, or more than one, has the type of an image."""
CAPTION_NAMES = ("captions", "caption", "sentences", "text")
"""The first of these columns that is there holds the captions."""
_NUMBERED = re.compile(r"caption_?\d+")


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Names of columns that are all there."""

    image: str
    captions: tuple[str, ...]
    question: str | None
    id: str | None

    @property
    def texts(self) -> list[str]:
        """All columns but the image."""
        others = (*self.captions, self.question, self.id)
        return list(dict.fromkeys(name for name in others if name))


def choose(features: Mapping[str, Any], columns: Columns, unlabelled: bool) -> Chosen:
    """Return the columns to read; with `unlabelled` there may be none of captions.

    Raises `DataError`, listing the columns found, when a column that is configured is not
    there or none can be told to be the image or the captions.
    """
    for field, name in columns.model_dump().items():
        if name is not None and name not in features and not (unlabelled and field == "caption"):
            raise DataError(
                f"data.columns.{field} must be a column of data.path; got {name!r}, "
                f"its columns are {', '.join(features)}"
            )
    return Chosen(
        image=columns.image or _image(features),
        captions=_captions(features, columns.caption, unlabelled),
        question=columns.question,
        id=columns.id,
    )


def _image(features: Mapping[str, Any]) -> str:
    typed = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    usual = [name for name in IMAGE_NAMES if name in (typed or features)]
    if len(typed) == 1 or usual:
        return typed[0] if len(typed) == 1 else usual[0]
    what = "more than one column of images" if typed else "no column of images"
    raise DataError(f"data.path has {what}; its columns are {', '.join(features)}")


def _captions(
    features: Mapping[str, Any], configured: str | None, unlabelled: bool
) -> tuple[str, ...]:
    """Return the usual column, or ``caption_0`` and so on, or the only column of strings."""
    if configured is not None:
        return (configured,) if configured in features else ()
    usual = [name for name in CAPTION_NAMES if name in features][:1]
    numbered = [name for name in features if _NUMBERED.fullmatch(name)]
    strings = [
        name
        for name, kind in features.items()
        if getattr(kind, "dtype", "") in ("string", "large_string")
    ]
    found = usual or numbered or (strings if len(strings) == 1 and not unlabelled else [])
    if not found and not unlabelled:
        raise DataError(
            "data.path has no column that is known to hold captions, such as "
            f"{', '.join(CAPTION_NAMES)}; its columns are {', '.join(features)}"
        )
    return tuple(found)
