"""What is written to a run of MLflow, one thing at a time: plain values, a line of JSON each.

Tags, parameters and errors are texts that may come from anywhere, so they are redacted here.
"""

import base64
import io
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from workers.redaction import redact

if TYPE_CHECKING:
    from PIL.Image import Image

Kind = Literal["open", "batch", "untag", "inputs", "artifact", "image", "end", "view", "name"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing to write."""

    kind: Kind
    values: Mapping[str, Any]
    """What is said below of each kind; only what JSON holds."""
    time: int = field(default_factory=lambda: int(time.time() * 1000))
    """When it was reported, in milliseconds since 1970, however late MLflow hears of it."""

    def line(self) -> bytes:
        """Return the entry as a line of a file."""
        return json.dumps(asdict(self), separators=(",", ":")).encode() + b"\n"


def parse(line: bytes) -> Entry | None:
    """Return what `Entry.line` wrote; None for a line that a crash cut off."""
    try:
        return Entry(**json.loads(line))
    except (ValueError, TypeError):
        return None


def opened(
    name: str, tags: Mapping[str, str], params: Mapping[str, str], *, again: bool = True
) -> Entry:
    """Make the run, or set it running again; without `again` one that is there stays as it is."""
    values = {"name": name, "tags": _redacted(tags), "params": _redacted(params), "again": again}
    return Entry(kind="open", values=values)


def named(name: str) -> Entry:
    """Give the run another name."""
    return Entry(kind="name", values={"name": name})


def batch(
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, str] | None = None,
    *,
    rung: int | None = None,
    best: Mapping[str, float] | None = None,
) -> Entry:
    """Log metrics at the step `rung` (else at 0), tags, and in `best` the metrics of a best rung.

    A rung that MLflow has is not stored again, whenever it was reported; nor is a best rung
    (its number is ``best/rung``) that is the best one there.
    """
    values = {
        "metrics": dict(metrics or {}), "tags": _redacted(tags or {}), "rung": rung,
        "best": dict(best or {}),
    }  # fmt: skip
    return Entry(kind="batch", values=values)


def untag(key: str) -> Entry:
    """Take a tag away."""
    return Entry(kind="untag", values={"key": key})


def inputs(data_inputs: Sequence[Mapping[str, Any]]) -> Entry:
    """Log on what a run is trained and scored, see `sweeps.tracking.inputs.data_inputs`."""
    return Entry(kind="inputs", values={"inputs": list(data_inputs)})


def artifact(path: str, content: str | bytes) -> Entry:
    """Write a file, in place of an earlier one; text is UTF-8."""
    data = content.encode() if isinstance(content, str) else content
    return Entry(kind="artifact", values={"path": path, "content": _text(data)})


def image(key: str, step: int, picture: "Image") -> Entry:
    """Log an image of a step, once."""
    return Entry(kind="image", values={"key": key, "step": step, "content": _text(png(picture))})


def view(key: str, text: str) -> Entry:
    """Put a tag on the run's experiment, which is where MLflow keeps a saved view."""
    return Entry(kind="view", values={"key": key, "text": text})


def ended(
    status: str, tags: Mapping[str, str], error: str | None = None, *, once: bool = False
) -> Entry:
    """End the run with a status of MLflow; the whole `error` becomes a file.

    With `once`, a run that has ended stays as it is.
    """
    values = {
        "status": status,
        "tags": _redacted(tags),
        "error": error and redact(error),
        "once": once,
    }
    return Entry(kind="end", values=values)


def png(picture: "Image") -> bytes:
    """Return an image as a file."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def content(entry: Entry) -> bytes:
    """Return the file of an artifact or image."""
    return base64.b64decode(entry.values["content"])


def _redacted(texts: Mapping[str, str]) -> dict[str, str]:
    return {key: redact(text) for key, text in texts.items()}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
