"""Commands that answer with a trained captioner: over HTTP, and at the terminal."""

from pathlib import Path
from typing import Annotated

import typer

from sweeps.cli.arguments import Results, console
from sweeps.quiet import quiet_libraries
from sweeps.spec.files import RESULTS
from sweeps.spec.problems import FAILED


def serve(
    name: Annotated[str, typer.Argument(help="A registered model, such as quickstart-captioner.")],
    alias: Annotated[str, typer.Option(help="Whose version answers; it may move.")] = "champion",
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
        str,
        typer.Option(help="NAME@alias, models:/NAME/version, a sweep, or SWEEP/trial-003."),
    ],
    question: Annotated[
        str | None, typer.Option(help="For a model that answers questions.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
    results: Results = RESULTS,
) -> None:
    """Caption image files: a line with path, tab and caption for each."""
    quiet_libraries()
    from sweeps.serving.caption import caption_files

    if not caption_files(images, model, results, question, as_json):
        raise typer.Exit(FAILED)
