"""The commands that write captions and score them: each imports what it needs when called."""

from pathlib import Path
from typing import Annotated

import typer

from sweeps.cli.arguments import Overrides, Results, console
from sweeps.names import RESULTS


def predict(
    source: Annotated[
        str, typer.Argument(help="A sweep, models:/NAME@alias, or an adapter's folder.")
    ],
    data: Annotated[
        str | None, typer.Option(help="A sweep file, recipe or sweep whose data to use.")
    ] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    out: Annotated[Path, typer.Option(help="A .csv or .json file.")] = Path("predictions.csv"),
    beams: Annotated[int | None, typer.Option(help="For evaluate.final_beams.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="For evaluate.batch_size.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="For evaluate.max_new_tokens.")] = None,
    overrides: Overrides = None,
    results: Results = RESULTS,
) -> None:
    """Write captions or answers of a trained adapter as a file to hand in."""
    from sweeps.serving.predict import write_predictions

    short = {"final_beams": beams, "batch_size": batch_size, "max_new_tokens": max_new_tokens}
    given = [f"evaluate.{name}={value}" for name, value in short.items() if value is not None]
    write_predictions(
        source, out, console(), results=results, split=split, data=data,
        overrides=[*(overrides or ()), *given],
    )  # fmt: skip


def score(
    predictions: Annotated[
        Path, typer.Argument(help="COCO results (.json), or a .csv of images and captions.")
    ],
    references: Annotated[
        Path, typer.Option(help="COCO annotations (.json), a .csv, or Flickr8k's token .txt.")
    ],
    metrics: Annotated[
        str, typer.Option(help="Names with commas between them.")
    ] = "bleu,meteor,rouge_l,cider",
    columns: Annotated[
        str | None, typer.Option(metavar="IMAGE,CAPTION", help="Where a .csv names them otherwise.")
    ] = None,
    only_predicted: Annotated[
        bool, typer.Option("--only-predicted", help="Leave out images without a prediction.")
    ] = False,
    per_image: Annotated[
        Path | None, typer.Option(help="Write each image's scores to this .csv or .json file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Score captions of any origin against references, exactly as COCO does."""
    from sweeps.serving.score import score_files

    score_files(
        predictions, references, console(),
        metrics=[name.strip() for name in metrics.split(",")], columns=columns,
        only_predicted=only_predicted, per_image=per_image, as_json=as_json,
    )  # fmt: skip
