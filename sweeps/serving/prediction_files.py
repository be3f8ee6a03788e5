"""Files of predictions, in the formats in which they are submitted."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from workers.data.contest import entity_of, is_valid
from workers.data.sample import Sample
from workers.files.atomic import atomic_write
from workers.recipe import Recipe
from workers.report import Prediction

CONTEST = "amazon-vqa"
"""The data source whose challenge has a format rule for answers."""


def check_out(out: Path, option: str = "--out") -> None:
    """Refuse a file that could not be written in the end; `option` is what names it.

    Raises ValueError for an ending that is not known, FileNotFoundError for a missing folder.
    """
    if out.suffix not in FORMS:
        endings = " or ".join(FORMS)
        raise ValueError(f"{option} must end with {endings}, got {str(out)!r}")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"{option}: there is no folder {out.parent}")


def write(out: Path, predictions: Sequence[Prediction], recipe: Recipe) -> None:
    """Write the whole file or leave what was there, in the form that its ending names."""
    atomic_write(out, FORMS[out.suffix](predictions, recipe))


def table_text(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a CSV file with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def json_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return a JSON file with a list of objects."""
    return json.dumps(list(rows), ensure_ascii=False, indent=1) + "\n"


def by_the_rules(
    predictions: Iterable[Prediction], samples: Iterable[Sample], recipe: Recipe
) -> tuple[list[Prediction], int]:
    """Return the predictions with those emptied that may not be submitted, and how many.

    The Amazon ML Challenge takes ``x unit``, with a unit of the entity that is asked for, or
    nothing; other data have no such rule.
    """
    if recipe.data.source != CONTEST:
        return list(predictions), 0
    kept, emptied = [], 0
    for prediction, sample in zip(predictions, samples, strict=True):
        entity = entity_of(sample.question or "")
        if entity is None or not is_valid(prediction.caption, entity):
            emptied += 1
            prediction = replace(prediction, caption="")
        kept.append(prediction)
    return kept, emptied


def _csv(predictions: Sequence[Prediction], recipe: Recipe) -> str:
    """Return two columns, named as in the data that they belong to."""
    columns = recipe.data.columns
    text = "caption" if recipe.task == "captioning" else "answer"
    heads = (columns.id or columns.image or "image_id", columns.caption or text)
    if recipe.data.source == CONTEST:
        heads = ("index", "prediction")
    return table_text(heads, ((each.image_id, each.caption) for each in predictions))


def _json(predictions: Sequence[Prediction], recipe: Recipe) -> str:
    """Return a list of results as COCO's evaluation reads captions, and VQA's reads answers."""
    captioning = recipe.task == "captioning"
    id, text = ("image_id", "caption") if captioning else ("question_id", "answer")
    return json_text({id: number(each.image_id), text: each.caption} for each in predictions)


def number(id: str) -> int | str:
    """Return an id as a number where it is written as one: COCO's files have numbers."""
    return int(id) if id.isascii() and id.isdigit() and str(int(id)) == id else id


FORMS: Mapping[str, Callable[[Sequence[Prediction], Recipe], str]] = {".csv": _csv, ".json": _json}
"""Ending of the file -> the function that makes its text."""
