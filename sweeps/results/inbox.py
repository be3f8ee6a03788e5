"""Requests to a sweep's driver: files in the sweep's folder, so that any machine that sees it can
ask, and nothing listens on a network.

``control/<id>.json`` waits for the driver; ``control/done/<id>.json`` is what became of it.
"""

import json
import secrets
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from sweeps.results.folder import SweepFolder
from sweeps.storage import copies

Kind = Literal["stop", "stop-trial", "pause", "continue", "add"]
POLL_SECONDS = 0.2
_DONE = "done"


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request to the driver of a running sweep."""

    kind: Kind
    trial: str | None = None
    """The trial to stop, or the one that a new trial is a copy of."""
    point: dict[str, Any] = field(default_factory=dict)
    """Dotted field -> value of the new trial; what is left out is sampled, or copied."""
    rung: int | None = None
    """Rung of `trial` from whose state the new trial starts; 0 is that of its best adapter."""
    id: str = field(default_factory=lambda: f"{time.time_ns()}-{secrets.token_hex(2)}")
    """Sorts by time."""

    def __str__(self) -> str:
        values = " ".join(f"{path}={value}" for path, value in self.point.items())
        origin = f"from {self.trial}" if self.kind == "add" and self.trial else self.trial
        return " ".join(part for part in (self.kind, origin, values) if part)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The driver's answer to a request."""

    done: bool
    """False: it was refused."""
    said: str


def post(folder: SweepFolder, request: Request) -> None:
    """Put a request where the driver looks."""
    file = folder.control / f"{request.id}.json"
    folder.write(file, json.dumps(asdict(request), indent=1))


def waiting(folder: SweepFolder) -> list[Request | Path]:
    """Return the requests without an answer, in order; a file that is no request as its path."""
    copies.refresh(folder.control, lambda path: "/" not in path and path.endswith(".json"))
    found: list[Request | Path] = []
    for file in sorted(folder.control.glob("*.json")):
        try:
            found.append(Request(**json.loads(file.read_text())))
        except (ValueError, TypeError):
            found.append(file)
    return found


def answer(folder: SweepFolder, asked: Request | Path, answer: Answer) -> None:
    """Record the answer to a request, then remove the request."""
    file = asked if isinstance(asked, Path) else folder.control / f"{asked.id}.json"
    what = file.name if isinstance(asked, Path) else asdict(asked)
    result = {**asdict(answer), "request": what}
    folder.write(file.parent / _DONE / file.name, json.dumps(result, indent=1))
    folder.remove(file)


def answered(folder: SweepFolder, request: Request, seconds: float) -> Answer | None:
    """Return the answer to a request as soon as it is there; None after `seconds` without one."""
    file = folder.control / _DONE / f"{request.id}.json"
    deadline = time.monotonic() + seconds
    while (text := folder.read(file)) is None:
        if time.monotonic() > deadline:
            return None
        time.sleep(POLL_SECONDS)
    values = json.loads(text)
    return Answer(done=values["done"], said=values["said"])


def pause(folder: SweepFolder) -> None:
    """Let no further rung begin, until `unpause`."""
    folder.write(folder.paused, "")


def unpause(folder: SweepFolder) -> None:
    """Let rungs begin again."""
    folder.remove(folder.paused)
