"""``sweeps score``: the metrics of any file of captions, against a file of references."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from sweeps.serving.caption_files import Names, read_predictions, read_references, some
from sweeps.serving.prediction_files import check_out, json_text, number, table_text
from workers.files.atomic import atomic_write

if TYPE_CHECKING:
    from workers.metrics.scorer import Scored


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

    scorer = None
    try:
        scorer = Scorer(metrics, task.references, task.whole)
        return scorer.score(task.candidates)
    except RuntimeError as error:  # for a user to fix, so no traceback
        raise ChildProcessError(str(error)) from error
    finally:
        if scorer:
            scorer.close()


def per_image_text(out: Path, task: ScoringInput, scored: "Scored") -> str:
    """Return the file with a row per image: its id, its caption, and every score."""
    columns = ("image_id", "caption", *scored.images)
    values = zip(*(array.tolist() for array in scored.images.values()), strict=True)
    rows = [
        (image, task.candidates[image], *own) for image, own in zip(scored.ids, values, strict=True)
    ]
    if out.suffix == ".csv":
        return table_text(columns, rows)
    return json_text(dict(zip(columns, (number(id), *rest), strict=True)) for id, *rest in rows)
