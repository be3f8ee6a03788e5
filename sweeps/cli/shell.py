"""``ray submit sweep.yaml``: a shell function that knows a sweep file when it sees one.

Ray's own command is ``ray submit CLUSTER.yaml SCRIPT``. The function takes over only what that
command could not run: one file that holds a sweep, and no script.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sweeps.cli.jobs import submit

FUNCTION = """\
ray() {
    if [ "${1-}" = submit ] && (shift; command sweeps shell -- "$@"); then
        shift
        command sweeps submit "$@"
    else
        command ray "$@"
    fi
}
"""
"""For bash, zsh and any other shell of POSIX."""
_SECTIONS = {"name", "model", "data", "search"}
_ENOUGH = 2  # of them: a file that forgets one is a sweep with an issue, and the error says so


def shell(
    words: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
) -> None:
    """Print a shell function for `ray submit sweep.yaml`: eval "$(sweeps shell)"."""
    if words is None:
        print(FUNCTION, end="")
    elif not is_ours(words):
        raise typer.Exit(1)


def is_ours(words: Sequence[str]) -> bool:
    """Tell whether the words after ``ray submit`` are for ``sweeps submit``.

    They are when the first is a file with a sweep, and the others are options of ``sweeps
    submit``, so that none is left to be a script.
    """
    return bool(words) and _holds_sweep(Path(words[0])) and _is_parsed(words)


def _holds_sweep(file: Path) -> bool:
    from sweeps.spec.cluster_file import is_cluster_file, sweep_of
    from sweeps.spec.yaml_file import read_file

    try:
        document = read_file(file)
        values = sweep_of(document).values
    except (OSError, ValueError):  # also SpecError, UnicodeDecodeError
        return False
    if is_cluster_file(document):
        return True
    return isinstance(values, dict) and len(_SECTIONS & values.keys()) >= _ENOUGH


def _is_parsed(words: Sequence[str]) -> bool:
    from typer.main import get_command

    command = typer.Typer()
    command.command()(submit)
    try:
        get_command(command).make_context("submit", list(words))
    except Exception:  # click's and typer's own: no such option, one word too many, --help
        return False
    return True
