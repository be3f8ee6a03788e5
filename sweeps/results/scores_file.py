"""The scores and statistics per image of a trial's captions.

They are kept with the trial's run, as JSON, so that trials can be compared without scoring again.
Statistics add up over images: a metric's `pool` makes its scores from their sums.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from workers.report import Prediction

if TYPE_CHECKING:  # numpy and all that scores are loaded where scores are read
    from workers.metrics.scorer import Scored

SCORES = "eval/scores.json"
"""Where it lies among the artifacts of a run."""


@dataclass(frozen=True, kw_only=True)
class Captions:
    """The scores of one set of captions, and how they were written."""

    beams: int
    scored: "Scored"


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of the captions that a trial's best adapter wrote."""

    references: str
    """Digest of the scored images and their references."""
    best: Captions
    """Written with ``evaluate.beams``: those by which the trial is ranked."""
    final: Captions | None = None
    """Written with ``evaluate.final_beams``; None when these are no other, or not written yet."""

    @property
    def by_beams(self) -> dict[int, "Scored"]:
        """The captions by the beams that they were written with."""
        return {each.beams: each.scored for each in (self.best, self.final) if each}


def digest(predictions: Sequence[Prediction]) -> str:
    """Return the SHA-256 of images and references, whatever their order and captions."""
    judged = sorted((each.image_id, *each.references) for each in predictions)
    return hashlib.sha256(json.dumps(judged).encode()).hexdigest()


def dump(scores: Scores) -> str:
    """Return the file's text."""
    written = {
        "references": scores.references,
        "best": plain(scores.best),
        "final": plain(scores.final) if scores.final else None,
    }
    return json.dumps(written, separators=(",", ":"), ensure_ascii=False)


def parse(text: str) -> Scores:
    """Return the scores that `dump` wrote, to the last bit."""
    written = json.loads(text)
    return Scores(
        references=written["references"],
        best=captions_of(written["best"]),
        final=captions_of(written["final"]) if written["final"] else None,
    )


def read(client: Any, run_id: str) -> Scores | None:
    """Return the scores of a trial's run; None before its first rung is scored."""
    folder = str(Path(SCORES).parent)
    if SCORES not in {artifact.path for artifact in client.list_artifacts(run_id, folder)}:
        return None
    with TemporaryDirectory() as local:
        return parse(Path(client.download_artifacts(run_id, SCORES, local)).read_text("utf-8"))


def plain(captions: Captions) -> dict[str, Any]:
    """Return captions' scores as JSON has them."""
    scored = captions.scored
    return {
        "beams": captions.beams,
        "ids": scored.ids,
        "corpus": scored.corpus,
        "images": {name: _short(values.tolist()) for name, values in scored.images.items()},
        "statistics": {name: _short(values.tolist()) for name, values in scored.statistics.items()},
    }


def captions_of(written: Mapping[str, Any]) -> Captions:
    """Return the captions' scores from JSON of `plain`, to the last bit."""
    import numpy as np

    from workers.metrics.scorer import Scored

    images, statistics = (
        {name: np.array(values, dtype=np.float64) for name, values in written[part].items()}
        for part in ("images", "statistics")
    )
    ids, corpus = tuple(written["ids"]), written["corpus"]
    scored = Scored(ids=ids, corpus=corpus, images=images, statistics=statistics)
    return Captions(beams=written["beams"], scored=scored)


def _short(value: Any) -> Any:
    """Return whole numbers without their ``.0``: most statistics are counts."""
    if isinstance(value, list):
        return [_short(each) for each in value]
    return int(value) if value.is_integer() else value
