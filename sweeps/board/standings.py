"""The standing of each trial of a sweep: its interval, and whether it differs from the best.

Judged by the captions by which the trials are ranked, each trial against the winner on the same
resamples of the images. The intervals of the differences are widened for their number
(Bonferroni), so that the trial that is best in truth, whichever it is, is called behind the
winner in at most 5 of 100 sweeps: that the winner was picked by these images is accounted for.
"""

from collections.abc import Mapping
from dataclasses import replace

from sweeps.board.leaderboard import Leaderboard, Standing
from sweeps.results import scores_file
from sweeps.results.scores_file import Scores
from sweeps.tracking.client import set_tags
from sweeps.tracking.sweep_run import SweepRun
from workers.metrics import catalog
from workers.metrics.metric import Metric

INTERVAL, VS_BEST, FRONT = "trial.interval", "trial.vs_best", "trial.front"
"""Tags of a trial's run, columns of the leaderboard in MLflow; the last says yes or no."""


def add_runs(parent: SweepRun, board: Leaderboard) -> Leaderboard:
    """Return the leaderboard with the runs of its trials, and the objective of the base."""
    found, key = parent.run_ids(), f"val/{board.objective}"
    base = parent.base_scores(found.values(), [key])
    return replace(board, run_ids=found, zero_shot=base.get(key))


def add_standings(parent: SweepRun, board: Leaderboard) -> Leaderboard:
    """Return the leaderboard with all that MLflow adds: runs, and standings of scored trials.

    No trial has one when the objective has no scores per image (the loss) or the winner's are
    missing; nor has a trial that was scored on other images than the winner.
    """
    board = board if board.run_ids else add_runs(parent, board)
    metrics = (each for each in catalog.METRICS.values() if board.objective in each.outputs)
    metric = next(metrics, None)
    if metric is None or board.winner is None:
        return board
    kept: dict[str, Scores] = {}
    for name, run_id in board.run_ids.items():
        scores = scores_file.read(parent.client, run_id)
        if scores:  # without what ranks no trial: a large sweep has many trials
            statistics = {metric.name: scores.best.scored.statistics[metric.name]}
            slim = replace(scores.best.scored, images={}, statistics=statistics)
            kept[name] = replace(scores, best=replace(scores.best, scored=slim), final=None)
    return compute_standings(board, kept, metric)


def compute_standings(
    board: Leaderboard, kept: Mapping[str, Scores], metric: Metric
) -> Leaderboard:
    """Return the leaderboard with standings from the scores of its trials; a pure function."""
    from workers.metrics.bootstrap import CONFIDENCE, resample

    best = kept.get(board.winner.name) if board.winner else None
    if board.winner is None or best is None or len(best.best.scored.ids) < 2:
        return board
    alike = {trial: each for trial, each in kept.items() if each.references == best.references}
    made = resample([each.best.scored for each in alike.values()], {metric.name: metric.pool})
    resampled = dict(zip(alike, made, strict=True))
    confidence = 1 - (1 - CONFIDENCE) / max(1, len(resampled) - 1)
    winner = resampled[board.winner.name]
    standings = {}
    for name in (trial.name for trial in board.trials if trial.name in resampled):
        own = resampled[name]
        interval = own.interval(board.objective)
        apart = own is not winner and winner.minus(own, board.objective, confidence).significant
        standings[name] = Standing(
            low=interval.low,
            high=interval.high,
            vs_best="best" if own is winner else "behind" if apart else "tied",
        )
    return replace(board, standings=standings, images=len(best.best.scored.ids))


def record_standings(parent: SweepRun, board: Leaderboard) -> Leaderboard:
    """Write standings and front to MLflow, as tags of the trials' runs; return the leaderboard
    with standings."""
    board = add_standings(parent, board)
    front = {trial.name for trial in board.front}
    for name, run_id in board.run_ids.items():
        tags = {FRONT: "yes" if name in front else "no"} if board.further else {}
        if standing := board.standings.get(name):
            tags |= {INTERVAL: standing.interval, VS_BEST: standing.vs_best}
        if tags:
            set_tags(parent.client, run_id, tags)
    return board
