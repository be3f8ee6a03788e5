"""Commands that use a trained adapter: serve, caption, predict, and score."""

from pathlib import Path
from typing import Annotated

import typer

from sweeps.cli.arguments import Json, Overrides, Results, console
from sweeps.names import RESULTS
from sweeps.quiet import quiet_libraries
from sweeps.spec.problems import FAILED


def serve(
    name: Annotated[str, typer.Argument(help="A registered model, such as quickstart-captioner.")],
    alias: Annotated[str, typer.Option(help="The version's alias; it may move.")] = "champion",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    host: Annotated[
        str, typer.Option(help="Address to listen on; there is no authentication.")
    ] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Name that requests may use, such as a proxy's; * for any; repeatable."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of images that requests may name by path.")
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Serve a registered model over HTTP, with a page to try an image; Ctrl-C ends it."""
    quiet_libraries()  # before their first import, which is when they talk
    from sweeps.serving.served import Registered
    from sweeps.serving.server import serve as serve_model

    if images is not None and not images.is_dir():
        raise NotADirectoryError(f"--images must be a folder, got {images}")
    model = Registered(name=name, alias=alias, results=results, images=images)
    serve_model(model, host, port, allow_host or (), console())


def caption(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    model: Annotated[
        str, typer.Option(help="NAME@alias, models:/NAME/version, a sweep, or SWEEP/trial-003.")
    ],
    question: Annotated[
        str | None, typer.Option(help="For a model that answers questions.")
    ] = None,
    as_json: Json = False,
    results: Results = RESULTS,
) -> None:
    """Caption image files: a line with path, tab and caption for each."""
    quiet_libraries()
    from sweeps.serving.caption import caption_files

    if not caption_files(images, model, results, question, as_json):
        raise typer.Exit(FAILED)


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
    assignments = [*(overrides or ()), *given]
    write_predictions(
        source, out, console(), results=results, split=split, data=data, overrides=assignments
    )


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
        str | None,
        typer.Option(metavar="IMAGE,CAPTION", help="Columns of a .csv with other names."),
    ] = None,
    only_predicted: Annotated[
        bool, typer.Option("--only-predicted", help="Leave out images without a prediction.")
    ] = False,
    per_image: Annotated[
        Path | None, typer.Option(help="Write each image's scores to this .csv or .json file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Score captions of any origin against references, exactly as COCO does."""
    from sweeps.serving.score import score_files

    score_files(
        predictions,
        references,
        console(),
        metrics=[name.strip() for name in metrics.split(",")],
        columns=columns,
        only_predicted=only_predicted,
        per_image=per_image,
        as_json=as_json,
    )
