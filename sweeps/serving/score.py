"""``sweeps score``: the metrics of any file of captions, against a file of references.

Predictions and references are in the same formats. `.json`: a list of objects, COCO's results, or
an object with a list ``annotations``, COCO's annotations. `.csv`: a table with a header. `.txt`:
Flickr8k's ``name.jpg#0<TAB>caption``.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from sweeps.serving.prediction_files import check_out, json_text, number, table_text
from workers.data.captions import CAPTION_KEYS, IMAGE_KEYS, parse_tokens
from workers.data.captions import read as read_rows
from workers.data.csv_files import IMAGE_NAMES
from workers.data.sample import DataError
from workers.data.table import read_table
from workers.data.text_files import as_text, read_json
from workers.files.atomic import atomic_write

if TYPE_CHECKING:
    from workers.metrics.scorer import Scored

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


@dataclass(frozen=True, kw_only=True)
class ScoringInput:
    """Captions and their references, for the same images in the same order."""

    references: Mapping[str, Sequence[str]]
    candidates: Mapping[str, str]
    whole: Mapping[str, Sequence[str]]
    """The references of all images, also of those without a prediction."""


def score_files(
    predictions: Path,
    references: Path,
    console: Console,
    *,
    metrics: Sequence[str],
    columns: str | None = None,
    only_predicted: bool = False,
    per_image: Path | None = None,
    as_json: bool = False,
) -> None:
    """Print the metrics of the predictions, and write those of each image to `per_image`.

    Raises ValueError and OSError for what a user can fix; all of it is found before Java
    starts, but for a Java that is missing or dies.
    """
    from workers.metrics import bootstrap, catalog

    catalog.outputs(metrics)
    if per_image:
        check_out(per_image, "--per-image")
    task = matched(predictions, references, Names.given(columns), only_predicted)
    scored = score(task, metrics)
    intervals: dict[str, tuple[float, float]] = {}
    if len(scored.ids) > 1:
        found = bootstrap.interval(scored, {name: catalog.get(name).pool for name in metrics})
        intervals = {output: (each.low, each.high) for output, each in found.items()}
    if per_image:
        atomic_write(per_image, per_image_text(per_image, task, scored))
    left_out = len(task.whole) - len(task.candidates)
    if as_json:
        values = {
            "images": len(scored.ids),
            "images_without_prediction": left_out,
            "scores": scored.corpus,
            "intervals_95": intervals,
        }
        print(json.dumps(values, indent=1))
        return
    table = Table("metric", box=None, header_style="bold")
    table.add_column("score", justify="right")
    table.add_column("95 % interval", justify="right")
    for output, value in scored.corpus.items():
        ends = intervals.get(output, ())
        table.add_row(output, f"{value:.4f}", " to ".join(f"{end:.4f}" for end in ends))
    console.print(table)
    note = f"{len(task.candidates)} images"
    if left_out:
        note += f" of {len(task.whole)}; {left_out} have no prediction"
        if "cider" in metrics:
            note += ", and CIDEr's document frequencies come from the others only"
    console.print(note, soft_wrap=True)
    if few := catalog.too_few_images(metrics, len(scored.ids)):
        console.print(few, style="yellow", soft_wrap=True)


def matched(
    predictions: Path, references: Path, names: Names, only_predicted: bool
) -> ScoringInput:
    """Return the captions of the two files, image by image in the order of the references.

    Raises ValueError for a prediction without references, and unless `only_predicted` for an
    image without a prediction: scores over fewer images are those of another, easier task.
    """
    candidates, truths = read_predictions(predictions, names), read_references(references, names)
    unknown = [repr(image) for image in candidates if image not in truths]
    if unknown:
        raise ValueError(
            f"{predictions}: {len(unknown)} of {len(candidates)} images are not in {references}: "
            f"{some(unknown)}; its images are such as {some(map(repr, truths))}"
        )
    missing = [repr(image) for image in truths if image not in candidates]
    if missing and not only_predicted:
        raise ValueError(
            f"{predictions}: {len(missing)} of the {len(truths)} images of {references} have no "
            f"prediction: {some(missing)}; --only-predicted scores the others"
        )
    images = [image for image in truths if image in candidates]
    return ScoringInput(
        references={image: truths[image] for image in images},
        candidates={image: candidates[image] for image in images},
        whole=truths,
    )


def score(task: ScoringInput, metrics: Sequence[str]) -> "Scored":
    """Return the scores; raises ChildProcessError when Java is missing or dies."""
    from workers.metrics.scorer import Scorer

    try:
        with closing(Scorer(metrics, task.references, task.whole)) as scorer:
            return scorer.score(task.candidates)
    except RuntimeError as error:  # for a user to fix, so no traceback
        raise ChildProcessError(str(error)) from error


def per_image_text(out: Path, task: ScoringInput, scored: "Scored") -> str:
    """Return the file with a row per image: its id, its caption, and every score."""
    columns = ("image_id", "caption", *scored.images)
    values = zip(*(array.tolist() for array in scored.images.values()), strict=True)
    scores = zip(scored.ids, values, strict=True)
    rows = [(image, task.candidates[image], *own) for image, own in scores]
    if out.suffix == ".csv":
        return table_text(columns, rows)
    return json_text(dict(zip(columns, (number(id), *rest), strict=True)) for id, *rest in rows)


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
    for index, item in enumerate(items, 1):
        image, caption = first(item, names.image), first(item, names.caption)
        place = f"{path.name} item {index}"
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
    for line, row in rows:
        place = f"{path.name} line {line}"
        if row[image].strip():
            lines.append(CaptionLine(place=place, image=row[image].strip(), caption=row[caption]))
        else:
            problems.append(f"{place}: {image} is empty")
    return lines, problems


def _tokens(path: Path, names: Names) -> tuple[list[CaptionLine], list[str]]:
    rows, problems = read_rows(path, parse_tokens)
    return [
        CaptionLine(place=f"{path.name} line {row.line}", image=row.image, caption=row.caption)
        for row in rows
    ], problems


def _refuse(path: Path, problems: Sequence[str], rule: str) -> None:
    if problems:
        shown = "".join(f"\n  {problem}" for problem in problems[:_SHOWN])
        more = f"\n  and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise DataError(f"{path}: {rule}{shown}{more}", problems)


Reader = Callable[[Path, Names], tuple[list[CaptionLine], list[str]]]
READERS: Mapping[str, Reader] = {".json": _json, ".csv": _csv, ".txt": _tokens}
"""Ending of the file -> its reader, which returns captions, and the problems of bad rows."""
