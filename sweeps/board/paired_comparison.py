"""``sweeps compare A B``: the differences of two trials' scores, with their intervals."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from sweeps.board.handle import SweepHandle
from sweeps.board.leaderboard import format_score, no_winner
from sweeps.results import scores_file
from sweeps.results.scores_file import Scores
from sweeps.tracking.client import Tracking
from workers.metrics import catalog

if TYPE_CHECKING:
    from workers.metrics.bootstrap import Difference
    from workers.metrics.scorer import Scored

_RUN_ID = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """The scores of two trials, by captions of the same images with the same beams."""

    titles: tuple[str, str]
    scored: "tuple[Scored, Scored]"
    beams: int
    differences: "Mapping[str, Difference]"
    """Output of a metric -> by how much the first trial is above the second."""


def compare_trials(one: str, other: str, results: Path) -> PairedComparison:
    """Return the differences of all metrics that two trials have in common.

    Each is ``SWEEP/trial-003``, a sweep (its winner), or the id of an MLflow run. Raises ValueError
    or FileNotFoundError for an unknown one and for trials that cannot be compared.
    """
    from workers.metrics.bootstrap import paired

    (title, mine), (other_title, others) = find_scores(one, results), find_scores(other, results)
    refused = f"{title} and {other_title} cannot be compared"
    ids, other_ids = set(mine.best.scored.ids), set(others.best.scored.ids)
    if ids != other_ids:
        lone = {"first": ids - other_ids, "second": other_ids - ids}
        some = [(side, images) for side, images in lone.items() if images]
        parts = [f"{len(own)} only of the {side}, such as {min(own)!r}" for side, own in some]
        unshared = "; ".join(parts)
        raise ValueError(f"{refused}: they were scored on other images; {unshared}")
    if mine.references != others.references:
        raise ValueError(f"{refused}: the references of their images are not the same")
    shared = mine.by_beams.keys() & others.by_beams.keys()
    if not shared:
        raise ValueError(
            f"{refused}: their captions were written with {_listed(mine.by_beams)} and "
            f"{_listed(others.by_beams)} beams (evaluate.beams, evaluate.final_beams)"
        )
    beams = max(shared)
    first, second = mine.by_beams[beams], others.by_beams[beams]
    metrics = [name for name in first.statistics if name in second.statistics]
    if not metrics:
        raise ValueError(
            f"{refused}: they were scored by {_listed(first.statistics)} and "
            f"{_listed(second.statistics)} (evaluate.metrics)"
        )
    return PairedComparison(
        titles=(title, other_title),
        scored=(first, second),
        beams=beams,
        differences=paired(first, second, {name: catalog.get(name).pool for name in metrics}),
    )


def print_comparison(one: str, other: str, results: Path, console: Console) -> None:
    """Print how two trials compare, see `compare_trials`."""
    from workers.metrics.bootstrap import CONFIDENCE, RESAMPLES

    found = compare_trials(one, other, results)
    first, second = found.scored
    for letter, title in zip("AB", found.titles, strict=True):
        console.print(f"{letter}  {title}", soft_wrap=True)
    console.print(
        f"{len(first.ids)} images, captions by {found.beams} beam{'s' * (found.beams > 1)}; "
        f"paired bootstrap, {RESAMPLES:,} resamples, {CONFIDENCE * 100:.0f} % intervals\n"
    )
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("metric", "A", "B", "A - B", "95 % interval", "p", ""):
        justify = "left" if column in ("metric", "") else "right"
        grid.add_column(column, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for metric in [catalog.get(name) for name in first.statistics if name in second.statistics]:
        for output in metric.outputs:
            difference = found.differences[output]
            verdict = "significant" if difference.significant else "no significant difference"
            if difference.significant and metric.direction is not None:
                first_is_better = (difference.value > 0) == (metric.direction == "max")
                verdict = f"{'A' if first_is_better else 'B'} is better"
            grid.add_row(
                output,
                format_score(first.corpus[output]),
                format_score(second.corpus[output]),
                f"{difference.value:+.4f}",
                f"{difference.low:+.4f} to {difference.high:+.4f}",
                "<0.001" if difference.p < 0.001 else f"{difference.p:.3f}",
                verdict,
            )
    console.print(grid)
    for letter, own, rest in (("A", first, second), ("B", second, first)):
        lone = [name for name in own.statistics if name not in rest.statistics]
        if lone:
            console.print(f"only {letter} was scored by {', '.join(lone)}")


def find_scores(name: str, results: Path) -> tuple[str, Scores]:
    """Return the title and the scores of the trial that `name` names, see `compare_trials`.

    A run is looked up in the store that MLFLOW_TRACKING_URI names, else in the embedded one.
    """
    if _RUN_ID.fullmatch(name):
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        tracking = Tracking(uri=uri, experiment="", root=results.absolute())
        client, found = tracking.client(), name
        from mlflow.exceptions import MlflowException

        try:
            run = client.get_run(name)
        except MlflowException as error:
            raise ValueError(
                f"no run {name} in {tracking.address}; MLFLOW_TRACKING_URI names another store"
            ) from error
        title = f"{run.info.run_name} of {run.data.tags.get('sweep.id', 'no sweep')}"
    else:
        sweep_id, _, trial_name = name.partition("/")
        earlier = SweepHandle.find(results, sweep_id)
        board, client = earlier.board, earlier.run.client
        trial = board.trial(trial_name) if trial_name else board.winner
        if trial is None:
            raise ValueError(f"{sweep_id}: {no_winner(board)}, so there is no winner to compare")
        found, title = earlier.run.run_id_of(trial.name), f"{trial.title} of {sweep_id}"
    scores = scores_file.read(client, found)
    if scores is None:
        why = "it was not scored yet, or by an older version"
        raise ValueError(f"{title} has no {scores_file.SCORES}: {why}")
    return title, scores


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))
