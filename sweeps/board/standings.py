"""How each trial of a sweep stands against the best: intervals, and which differ significantly.

Judged by the captions by which the trials are ranked, each trial against the winner on the same
resamples of the images. The intervals of the differences are widened for their number
(Bonferroni), so that the trial that is best in truth, whichever it is, is called behind the
winner in at most 5 of 100 sweeps: that the winner was picked by these images is accounted for.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from sweeps.board import front_view
from sweeps.board.leaderboard import Leaderboard, Standing
from sweeps.results import scores_file
from sweeps.results.scores_file import Scores
from sweeps.tracking.client import set_tags
from sweeps.tracking.sweep_run import SweepRun
from workers.metrics import catalog
from workers.metrics.metric import Metric

if TYPE_CHECKING:
    from workers.metrics.bootstrap import Resampled

INTERVAL, VS_BEST = "trial.interval", "trial.vs_best"
"""Tags of a trial's run, columns of the leaderboard in MLflow."""


def tracked(parent: SweepRun, board: Leaderboard) -> Leaderboard:
    """Return the leaderboard with the runs of its trials, and the objective of the base."""
    found, key = parent.run_ids(), f"val/{board.objective}"
    base = parent.base_scores(found.values(), [key])
    return replace(board, run_ids=found, zero_shot=base.get(key))


def judged(parent: SweepRun, board: Leaderboard) -> Leaderboard:
    """Return the leaderboard with all that MLflow adds: a standing for each trial with scores, too.

    No trial has one when the objective has no scores per image (the loss) or the winner's are
    missing; nor has a trial that was scored on other images than the winner.
    """
    board = board if board.run_ids else tracked(parent, board)
    metric = _metric(board.objective)
    if metric is None or board.winner is None:
        return board
    kept: dict[str, Scores] = {}
    for name, run_id in board.run_ids.items():
        scores = scores_file.read(parent.client, run_id)
        if scores:
            kept[name] = _only(scores, metric)
    return stand(board, kept, metric)


def stand(board: Leaderboard, kept: Mapping[str, Scores], metric: Metric) -> Leaderboard:
    """Return the leaderboard with standings from the scores of its trials; a pure function."""
    from workers.metrics.bootstrap import resample

    best = kept.get(board.winner.name) if board.winner else None
    if best is None or len(best.best.scored.ids) < 2:
        return board
    alike = {trial: each for trial, each in kept.items() if each.references == best.references}
    made = resample([each.best.scored for each in alike.values()], {metric.name: metric.pool})
    resampled = dict(zip(alike, made, strict=True))
    standings = {
        trial.name: _standing(trial.name, board, resampled)
        for trial in board.trials
        if trial.name in resampled
    }
    return replace(board, standings=standings, images=len(best.best.scored.ids))


def record(parent: SweepRun, board: Leaderboard) -> None:
    """Write the standings into MLflow, as tags of the trials' runs."""
    for name, standing in board.standings.items():
        tags = {INTERVAL: standing.interval, VS_BEST: standing.vs_best}
        set_tags(parent.client, board.run_ids[name], tags)


def _standing(trial: str, board: Leaderboard, resampled: Mapping[str, "Resampled"]) -> Standing:
    from workers.metrics.bootstrap import CONFIDENCE

    assert board.winner
    own, best = resampled[trial], resampled[board.winner.name]
    interval = own.interval(board.objective)
    if own is best:
        return Standing(low=interval.low, high=interval.high, vs_best="best")
    confidence = 1 - (1 - CONFIDENCE) / (len(resampled) - 1)
    apart = best.minus(own, board.objective, confidence).significant
    return Standing(low=interval.low, high=interval.high, vs_best="behind" if apart else "tied")


def _metric(output: str) -> Metric | None:
    metrics = catalog.METRICS.values()
    return next((metric for metric in metrics if output in metric.outputs), None)


def _only(scores: Scores, metric: Metric) -> Scores:
    """Return the scores without what ranks no trial: a large sweep has many trials."""
    scored = scores.best.scored
    statistics = {metric.name: scored.statistics[metric.name]}
    slim = replace(scored, images={}, statistics=statistics)
    return replace(scores, best=replace(scores.best, scored=slim), final=None)


def record_standings(parent: SweepRun, board: Leaderboard) -> Leaderboard:
    """Write standings and front into MLflow; return the leaderboard with standings."""
    board = judged(parent, board)
    record(parent, board)
    front_view.record(parent, board)
    return board
