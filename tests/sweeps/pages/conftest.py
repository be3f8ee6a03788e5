"""Facts made by hand, without training."""

from dataclasses import replace

import pytest

from sweeps.board.leaderboard import Leaderboard
from sweeps.board.view import links
from sweeps.pages.facts import Facts
from sweeps.pages.gallery import Gallery
from sweeps.rung_result import RungResult
from sweeps.spec.load import dump, parse
from sweeps.study.trials import TrialState
from workers.measures import reported_as

FILE = """
name: made
model: {base: tiny:shapes}
data: {source: shapes}
evaluate: {metrics: [exact_match, word_error_rate]}
search:
  space: %s
  sampler: {name: random, seed: 0}
  start: []
  objective: %s
"""
SPACE = "{adapter.rank: {choice: [2, 4, 8]}, train.learning_rate: {log_uniform: [1e-4, 1e-1]}}"
ONE = "{metric: exact_match}"


@pytest.fixture
def facts():
    """Return a function: points, values of the objective -> facts of such a sweep.

    A value of None is a trial that failed before it had a score.
    """

    def make(points, values, *, space=SPACE, objective=ONE, state="completed", **changes):
        sweep = parse(FILE % (space, objective))
        names = [f"trial-{number:03d}" for number in range(len(points))]
        objectives = sweep.search.objectives
        leading = objectives[0]
        trials = []
        for number, (name, value) in enumerate(zip(names, values, strict=True)):
            best = {leading.metric: value, "loss": 1.0, "adapter_mb": number}
            rung = RungResult(
                rung=2,
                objective=value,
                best=value,
                bests=tuple(best[each.metric] for each in objectives),
                metrics={reported_as(key): each for key, each in best.items()},
            )
            trials.append(TrialState(
                name=name, point={"adapter.rank": number},
                state="failed" if value is None else "completed",
                rungs=[] if value is None else [rung],
            ))  # fmt: skip
        board = replace(Leaderboard.of("made-1", objectives, trials), zero_shot=0.01)
        lines = {
            name: [(1, value / 2), (2, value)]
            for name, value in zip(names, values, strict=True)
            if value is not None
        }
        made = Facts(
            sweep=sweep, board=board, state=state, points=dict(zip(names, points, strict=True)),
            importances={}, curves={f"val/{leading.metric}": lines} if lines else {},
            base={f"val/{leading.metric}": 0.01}, gallery=Gallery(metric=None, groups={}),
            cost={"wall time": "30 min"},
            origin={"base": "tiny:shapes"}, text=dump(sweep),
        )  # fmt: skip
        return replace(made, **changes)

    return make


@pytest.fixture
def addresses():
    return links("http://127.0.0.1:5000", "1", "run", "m")
