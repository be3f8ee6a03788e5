"""Names that users choose, checked or quoted for each use: in a filter of MLflow, a path, a
command, or on a terminal.

In addresses of MLflow's pages they go through `sweeps.board.view.links`, in pages through the
escaping of the templates.
"""

import re
import shlex
from pathlib import Path

RESULTS = Path("sweep-results")

# MLflow's columns hold 256; a model's ledger is an experiment with a longer name than the model.
_MODEL_CHARACTERS, _EXPERIMENT_CHARACTERS = 200, 250
MODEL = (
    f"the name of a registered model: up to {_MODEL_CHARACTERS} characters, not blank, without / : "
    "? @ and control characters, with no .. in front, no \\ at the end and one kind of quotes"
)
EXPERIMENT = (
    f"the name of an experiment: up to {_EXPERIMENT_CHARACTERS} characters, not blank, without "
    "control characters"
)
_HIDDEN = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
"""Control characters, those that turn the direction of writing, and surrogates."""
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours and movements
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])"  # links, titles; what begins another one ends it,
    r"[^\x07\x1b\x90\x98\x9c-\x9f]*(?:\x07|\x1b\\|\x9c)"  # lest the time be quadratic
    rf"|(?![\t\n])[{_HIDDEN}]"
)
_NO_MODEL = re.compile(rf"[/:?@{_HIDDEN}]|^\.\.|^\.$|^\s*$")
_NO_EXPERIMENT = re.compile(rf"[{_HIDDEN}]|^\s*$")


def model(text: str) -> str:
    """Return the name of a registered model as it is.

    Raises ValueError with `MODEL` for a name that MLflow refuses, cannot search for or cannot load
    by its address.
    """
    if len(text) > _MODEL_CHARACTERS or _NO_MODEL.search(text) or _quote(text) is None:
        raise ValueError(MODEL)
    return text


def experiment(text: str) -> str:
    """Return the name of an experiment as it is; raises ValueError with `EXPERIMENT`."""
    if len(text) > _EXPERIMENT_CHARACTERS or _NO_EXPERIMENT.search(text):
        raise ValueError(EXPERIMENT)
    return text


def is_component(text: str) -> bool:
    """Tell whether `text` names a file or folder within another one, and leads nowhere else."""
    return text not in ("", ".", "..") and "/" not in text and "\0" not in text


def component(text: str) -> str:
    """Return a name that becomes part of a path as it is; raises ValueError for a path."""
    if not is_component(text):
        raise ValueError(
            "a sweep or a trial must be given by its name alone, such as quickstart-1, not by a "
            f"path: {text!r}"
        )
    return text


def tag(key: str) -> str:
    """Return the name of a tag in a filter of MLflow."""
    return f"tags.`{key}`"


def equals(field: str, value: str) -> str:
    """Return MLflow's filter for what has this value in `field`, such as ``name`` or a `tag`.

    Its filters know no escapes: raises ValueError for a value with both kinds of quotes or a
    backslash at its end.
    """
    quote = _quote(value)
    if quote is None:
        raise ValueError(
            "MLflow cannot search for a value with both kinds of quotes or a backslash at its "
            f"end: {field} {value!r}"
        )
    return f"{field} = {quote}{value}{quote}"


def has_tag(key: str) -> str:
    """Return MLflow's filter for what has a tag, whatever its value."""
    return f"{tag(key)} LIKE '%'"


def command(*words: str) -> str:
    """Return a command of this package as it can be pasted into a shell."""
    return shlex.join(["sweeps", *words])


def printable(text: str) -> str:
    """Return `text` without all that a terminal interprets: escape sequences, control characters
    but tabs and ends of lines, and characters that turn the direction of writing."""
    return _ESCAPES.sub("", text)


def _quote(value: str) -> str | None:
    """Return the quotes around a value in a filter; None where neither kind is possible."""
    quote = '"' if "'" in value else "'"
    return None if quote in value or value.endswith("\\") else quote
