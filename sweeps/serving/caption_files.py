"""Files of captions to be scored, predictions and references alike.

`.json`: a list of objects, COCO's results, or an object with a list ``annotations``, COCO's
annotations. `.csv`: a table with a header. `.txt`: Flickr8k's ``name.jpg#0<TAB>caption``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.data.captions import CAPTION_KEYS, IMAGE_KEYS, read_tokens
from workers.data.csv_files import IMAGE_NAMES
from workers.data.json_files import as_text, read_json
from workers.data.problems import DataError
from workers.data.table import read_table

_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Names:
    """Names of the fields for image and caption; the first that is there is taken."""

    image: tuple[str, ...] = (
        *("image_id", "question_id", "index", *IMAGE_KEYS),
        *(name for name in IMAGE_NAMES if name not in (*IMAGE_KEYS, "image_id")),
        "id",  # last: beside another one it is often the number of the caption
    )
    caption: tuple[str, ...] = (*CAPTION_KEYS, "answer", "prediction", "entity_value")

    @classmethod
    def given(cls, names: str | None) -> "Names":
        """Return those of an option ``IMAGE,CAPTION``, or the usual ones for None.

        A file that lacks a given name may have a usual one: predictions and references are
        not always called the same.
        """
        if names is None:
            return cls()
        parts = [part.strip() for part in names.split(",")]
        if len(parts) != 2 or not all(parts):
            raise ValueError(f"--columns must be two names such as photo,text; got {names!r}")
        return cls(image=(parts[0], *cls.image), caption=(parts[1], *cls.caption))


@dataclass(frozen=True, kw_only=True)
class CaptionLine:
    """One caption of one image, and its place in its file."""

    place: str
    image: str
    caption: str


def read_predictions(path: Path, names: Names) -> dict[str, str]:
    """Return image id -> its caption.

    Raises `DataError` as `read_lines` does, and when an image has two.
    """
    places: dict[str, str] = {}
    captions: dict[str, str] = {}
    twice: list[str] = []
    for line in read_lines(path, names):
        if line.image in captions:
            twice.append(f"{line.place}: image {line.image!r} again, after {places[line.image]}")
        else:
            places[line.image], captions[line.image] = line.place, line.caption
    _refuse(path, twice, "an image must have one prediction")
    return captions


def read_references(path: Path, names: Names) -> dict[str, list[str]]:
    """Return image id -> its captions; raises `DataError` as `read_lines` does."""
    captions: dict[str, list[str]] = {}
    for line in read_lines(path, names):
        captions.setdefault(line.image, []).append(line.caption)
    return captions


def read_lines(path: Path, names: Names) -> list[CaptionLine]:
    """Return all captions of a file.

    Raises `DataError` for a file that cannot be read, is not of its form or holds no caption,
    and for bad rows, naming them.
    """
    if path.suffix.lower() not in READERS:
        raise DataError(f"{path} must end with {', '.join(READERS)}")
    lines, problems = READERS[path.suffix.lower()](path, names)
    _refuse(path, problems, "every row must have an image and a caption")
    if not lines:
        raise DataError(f"{path} holds no captions")
    return lines


def some(things: Iterable[str]) -> str:
    """Name the first few of many things."""
    named = list(things)
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    return ", ".join(named[:_SHOWN]) + more


def _json(path: Path, names: Names) -> tuple[list[CaptionLine], list[str]]:
    value = read_json(path)
    items = value.get("annotations") if isinstance(value, dict) else value
    if not isinstance(items, list):
        found = some(map(repr, value)) if isinstance(value, dict) else type(value).__name__
        raise DataError(f"{path} must be a list or an object with annotations; it has {found}")

    def first(item: object, options: Sequence[str]) -> str | None:
        return next((text for name in options if (text := as_text(item, name)) is not None), None)

    lines, problems = [], []
    for number, item in enumerate(items, 1):
        image, caption = first(item, names.image), first(item, names.caption)
        place = f"{path.name} item {number}"
        if image and caption is not None:
            lines.append(CaptionLine(place=place, image=image, caption=caption))
            continue
        about = f"image {image!r} " if image else ""
        needed = "a caption as text" if image else "an image_id"
        found = some(map(repr, item)) if isinstance(item, Mapping) else type(item).__name__
        problems.append(f"{place}: {about}must have {needed}; it has {found}")
    return lines, problems


def _csv(path: Path, names: Names) -> tuple[list[CaptionLine], list[str]]:
    columns, rows, problems = read_table(path)

    def column(options: Sequence[str], what: str) -> str:
        found = next((name for name in options if name in columns), None)
        if found is None:
            raise DataError(
                f"{path} must have a column for {what}, such as {some(options)}; "
                f"its columns are {', '.join(columns)}; --columns IMAGE,CAPTION names others"
            )
        return found

    image, caption = column(names.image, "the image"), column(names.caption, "the caption")
    lines = []
    for number, row in rows:
        place = f"{path.name} line {number}"
        if row[image].strip():
            lines.append(CaptionLine(place=place, image=row[image].strip(), caption=row[caption]))
        else:
            problems.append(f"{place}: {image} is empty")
    return lines, problems


def _tokens(path: Path, names: Names) -> tuple[list[CaptionLine], list[str]]:
    rows, problems = read_tokens(path)
    return [
        CaptionLine(place=f"{path.name} line {row.line}", image=row.image, caption=row.caption)
        for row in rows
    ], problems


def _refuse(path: Path, problems: Sequence[str], rule: str) -> None:
    if problems:
        shown = "".join(f"\n  {problem}" for problem in problems[:_SHOWN])
        more = f"\n  and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise DataError(f"{path}: {rule}{shown}{more}", problems)


READERS: Mapping[str, Callable[[Path, Names], tuple[list[CaptionLine], list[str]]]] = {
    ".json": _json,
    ".csv": _csv,
    ".txt": _tokens,
}
"""Ending of the file -> its reader, which returns captions, and the problems of bad rows."""
