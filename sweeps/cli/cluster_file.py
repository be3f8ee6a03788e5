"""The command for clusters that Ray starts: it imports what it needs when it is called."""

from pathlib import Path
from typing import Annotated

import typer

from sweeps.cli.arguments import File, Overrides, console
from sweeps.spec.problems import refused

_DEFAULT_RESULTS = "~/sweep-results"


def _without_blanks(script: Path) -> Path:
    if len(script.name.split()) != 1:
        raise typer.BadParameter(f"`ray submit` runs no script with blanks in its name: {script}")
    return script


def launcher(
    file: File,
    overrides: Overrides = None,
    results: Annotated[
        str | None,
        typer.Option(
            help="Folder that all nodes of the cluster see, or an address: s3://bucket/prefix. "
            f"Else as `storage` of the file says, or {_DEFAULT_RESULTS}."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="The script to write.", callback=_without_blanks)
    ] = Path("launch.py"),
) -> None:
    """Write the script with which `ray submit CLUSTER.yaml launch.py` runs a sweep."""
    from sweeps.jobs.launcher import left_behind, script_text, submit_command, write_script
    from sweeps.spec.files import read

    with refused(FileNotFoundError):
        sweep = read(file, overrides or ())
    submit = submit_command(file, out)
    write_script(script_text(sweep, results or sweep.storage or _DEFAULT_RESULTS, submit), out)
    console().print(f"wrote {out}, which carries {sweep.name}; run it: {submit}", soft_wrap=True)
    for name in left_behind(sweep):
        console().print(
            f"note: {name} is not sent; all nodes must have it, and the home folder on the head is "
            "where a relative path begins", soft_wrap=True,
        )  # fmt: skip
