"""The best rung of a trial: its adapter on disk, with its captions and the score that counts."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from sweeps.storage import copies
from workers.report import Prediction, Report

_SCORE = "best.json"
_CAPTIONS = "captions.json"


@dataclass(frozen=True, kw_only=True)
class Best:
    """A trial's best rung so far."""

    value: float
    """Of the leading objective."""
    rung: int
    metrics: Mapping[str, float]
    """All that the rung reported."""


def read(folder: Path) -> Best | None:
    """Return the best rung that `keep` wrote, or None when no rung was scored yet."""
    try:
        written = json.loads((folder / _SCORE).read_text())
    except FileNotFoundError:
        return None
    return Best(**written)


def read_predictions(folder: Path) -> tuple[Prediction, ...]:
    """Return the captions that came with the best rung; none when there is none yet."""
    try:
        written = json.loads((folder / _CAPTIONS).read_text())
    except FileNotFoundError:
        return ()
    return tuple(
        Prediction(
            image_id=one["image_id"], caption=one["caption"], references=tuple(one["references"])
        )
        for one in written
    )


def keep(folder: Path, best: Best, report: Report, export: Callable[[Path], None]) -> None:
    """Put an adapter in place of the former best one; `export` writes it to a folder.

    A process that is killed meanwhile leaves either adapter whole, or none and the former's
    snapshot.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    export(partial)
    (partial / _SCORE).write_text(json.dumps(asdict(best), indent=1))
    captions = [asdict(prediction) for prediction in report.predictions]
    (partial / _CAPTIONS).write_text(json.dumps(captions))
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    copies.push(folder)
