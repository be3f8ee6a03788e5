"""``sweeps compare A B``: how the scores of two trials differ, and how sure that is."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from sweeps.board.earlier import EarlierSweep
from sweeps.board.leaderboard import no_winner, number
from sweeps.results import scores_file
from sweeps.results.scores_file import Scores
from sweeps.tracking.client import Tracking
from workers.metrics import catalog

if TYPE_CHECKING:
    from workers.metrics.bootstrap import Difference
    from workers.metrics.scorer import Scored

_RUN_ID = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of two trials."""

    title: str
    scores: Scores


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Captions of the same images that two trials wrote with the same beams."""

    one: "Scored"
    other: "Scored"
    beams: int
    metrics: tuple[str, ...]
    """Those that scored both."""


@dataclass(frozen=True, kw_only=True)
class ScoreDifferences:
    """How the scores of two trials differ."""

    titles: tuple[str, str]
    pair: Pair
    outputs: "Mapping[str, Difference]"
    """Output of a metric -> by how much the first trial is above the second."""


def score_differences(one: str, other: str, results: Path) -> ScoreDifferences:
    """Return the differences of all metrics that two trials have in common.

    Each is ``SWEEP/trial-003``, a sweep (its winner), or the id of an MLflow run. Raises ValueError
    or FileNotFoundError for an unknown one and for trials that cannot be compared.
    """
    from workers.metrics.bootstrap import paired

    sides = find(one, results), find(other, results)
    pair = matched(*sides)
    pools = {name: catalog.get(name).pool for name in pair.metrics}
    return ScoreDifferences(
        titles=(sides[0].title, sides[1].title), pair=pair,
        outputs=paired(pair.one, pair.other, pools),
    )  # fmt: skip


def show(one: str, other: str, results: Path, console: Console) -> None:
    """Print the `score_differences` of two trials."""
    from workers.metrics.bootstrap import CONFIDENCE, RESAMPLES

    found = score_differences(one, other, results)
    pair = found.pair
    for letter, title in zip("AB", found.titles, strict=True):
        console.print(f"{letter}  {title}", soft_wrap=True)
    console.print(
        f"{len(pair.one.ids)} images, captions by {pair.beams} beam{'s' * (pair.beams > 1)}; "
        f"paired bootstrap, {RESAMPLES:,} resamples, {CONFIDENCE * 100:.0f} % intervals\n"
    )
    console.print(_table(found))
    for letter, mine, others in (("A", pair.one, pair.other), ("B", pair.other, pair.one)):
        alone = [name for name in mine.statistics if name not in others.statistics]
        if alone:
            console.print(f"only {letter} was scored by {', '.join(alone)}")


def find(name: str, results: Path) -> Side:
    """Return the trial that `name` names, with its scores."""
    client, found, title = _run(name, results)
    scores = scores_file.read(client, found)
    if scores is None:
        raise ValueError(
            f"{title} has no {scores_file.SCORES}: it was not scored yet, or by an older version"
        )
    return Side(title=title, scores=scores)


def matched(one: Side, other: Side) -> Pair:
    """Return what can be compared of two trials; raises ValueError when nothing can."""
    unlike = f"{one.title} and {other.title} cannot be compared"
    ids, others = set(one.scores.best.scored.ids), set(other.scores.best.scored.ids)
    if ids != others:
        raise ValueError(f"{unlike}: they were scored on other images; {_lone(ids, others)}")
    if one.scores.references != other.scores.references:
        raise ValueError(f"{unlike}: the references of their images are not the same")
    beams = one.scores.by_beams.keys() & other.scores.by_beams.keys()
    if not beams:
        raise ValueError(
            f"{unlike}: their captions were written with {_listed(one.scores.by_beams)} and "
            f"{_listed(other.scores.by_beams)} beams (evaluate.beams, evaluate.final_beams)"
        )
    most = max(beams)
    first, second = one.scores.by_beams[most], other.scores.by_beams[most]
    metrics = tuple(name for name in first.statistics if name in second.statistics)
    if not metrics:
        raise ValueError(
            f"{unlike}: they were scored by {_listed(first.statistics)} and "
            f"{_listed(second.statistics)} (evaluate.metrics)"
        )
    return Pair(one=first, other=second, beams=most, metrics=metrics)


def _run(name: str, results: Path) -> tuple[Any, str, str]:
    """Return MLflow's client, the run's id and the trial's title."""
    if _RUN_ID.fullmatch(name):
        return _by_id(name, results)
    sweep_id, _, trial = name.partition("/")
    earlier = EarlierSweep.find(results, sweep_id)
    found = earlier.board.trial(trial) if trial else earlier.board.winner
    if found is None:
        raise ValueError(
            f"{sweep_id}: {no_winner(earlier.board)}, so there is no winner to compare"
        )
    return earlier.run.client, earlier.run.run_id_of(found.name), f"{found.title} of {sweep_id}"


def _by_id(run_id: str, results: Path) -> tuple[Any, str, str]:
    """Find a run in the store that MLFLOW_TRACKING_URI names, else in the embedded one."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    tracking = Tracking(uri=uri, experiment="", root=results.absolute())
    client = tracking.client()
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        raise ValueError(
            f"no run {run_id} in {tracking.address}; MLFLOW_TRACKING_URI names another store"
        ) from error
    sweep_id = run.data.tags.get("sweep.id", "no sweep")
    return client, run_id, f"{run.info.run_name} of {sweep_id}"


def _table(found: ScoreDifferences) -> Table:
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("metric", "A", "B", "A - B", "95 % interval", "p", ""):
        justify = "left" if column in ("metric", "") else "right"
        grid.add_column(column, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for name in found.pair.metrics:
        for output in catalog.get(name).outputs:
            difference = found.outputs[output]
            grid.add_row(
                output,
                number(found.pair.one.corpus[output]),
                number(found.pair.other.corpus[output]),
                f"{difference.value:+.4f}",
                f"{difference.low:+.4f} to {difference.high:+.4f}",
                "<0.001" if difference.p < 0.001 else f"{difference.p:.3f}",
                _verdict(difference, catalog.get(name).direction),
            )
    return grid


def _verdict(difference: "Difference", direction: str | None) -> str:
    if not difference.significant:
        return "no significant difference"
    if direction is None:
        return "significant"
    return "A is better" if (difference.value > 0) == (direction == "max") else "B is better"


def _lone(ids: set[str], others: set[str]) -> str:
    """Say how many images only one side has, and name one of each."""
    lone = {"first": ids - others, "second": others - ids}
    return "; ".join(
        f"{len(images)} only of the {side}, such as {min(images)!r}"
        for side, images in lone.items()
        if images
    )


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))
