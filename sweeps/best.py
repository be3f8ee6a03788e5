"""The best rung of a trial: its adapter on disk, with the score that made it the best."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

_SCORE = "best.json"


@dataclass(frozen=True, kw_only=True)
class Best:
    """The objective of a trial's best rung so far."""

    value: float
    rung: int


def read(folder: Path) -> Best | None:
    """Return what `keep` wrote to `folder`, or None when no rung was scored yet."""
    try:
        written = json.loads((folder / _SCORE).read_text())
    except FileNotFoundError:
        return None
    return Best(value=float(written["value"]), rung=int(written["rung"]))


def keep(
    folder: Path, best: Best, metrics: Mapping[str, float], export: Callable[[Path], None]
) -> None:
    """Put an adapter in place of the former best one; `export` writes it to a folder.

    Whoever is killed on the way leaves either adapter whole, or none and the former's snapshot.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    export(partial)
    score = {"rung": best.rung, "value": best.value, "metrics": dict(metrics)}
    (partial / _SCORE).write_text(json.dumps(score, indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
