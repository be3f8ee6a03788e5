"""How long each sampler takes for the next point after many finished trials.

    python benchmarks/suggest.py [TRIALS [SAMPLER ...]]

Prints a table in milliseconds, with a study in a journal file that holds so many finished trials
(2,000 unless given): to open the study, and for each of nine points (median and longest).
The cost of gp grows with the cube of completed trials: give it a few hundred.
"""

import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import optuna
from optuna.trial import TrialState, create_trial

from search_spaces.walk import placed
from sweeps import samplers
from sweeps.draws import Draws
from sweeps.paths import SweepFolder
from sweeps.spec import parse
from sweeps.study import open_study, prepare_study, tell

FILE = """
name: suggest
model: {{base: tiny:shapes}}
data: {{source: shapes}}
search:
  start: []
  sampler: {{name: {name}}}
  space:
    adapter.rank: {{choice: [4, 8, 16, 32]}}
    adapter.targets: {{choice: [text, text_all]}}
    train.learning_rate: {rates}
    train.warmup: {{uniform: [0.0, 0.2], step: 0.01}}
    adapter.dropout: {{uniform: [0.0, 0.3], step: 0.01}}
    train.epochs: {{int_uniform: [2, 8]}}
"""
POINTS = 9


def prepared(name, trials, root):
    """A sweep, and its folder with so many finished trials at random points."""
    grid = "{choice: [0.00001, 0.00003, 0.0001, 0.0003]}"
    rates = grid if name == "grid" else "{log_uniform: [0.00001, 0.001]}"
    sweep = parse(FILE.format(name=name, rates=rates))
    folder = SweepFolder.create(root, sweep.name)
    study, _ = prepare_study(sweep, folder, resuming=False)
    random = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for number in range(trials):
        point, given = placed(sweep.search.space, sweep.search.space.suggest(random.ask()))
        value = -point["adapter.dropout"]
        study.add_trial(
            create_trial(
                params=point,
                distributions=given.distributions,
                value=value,
                intermediate_values=dict.fromkeys(range(1, 6), value),
                user_attrs={"trial": f"trial-{number:03d}"},
            )
        )
    return sweep, folder


def measure(sweep, folder):
    """Return milliseconds: to open the study, and for each of some points."""
    begun = time.perf_counter()
    study = open_study(sweep, folder)
    draws = Draws(study, sweep)
    opening, points = time.perf_counter() - begun, []
    for _ in range(POINTS):
        begun = time.perf_counter()
        drawn = draws.next()
        points.append(1000 * (time.perf_counter() - begun))
        tell(study, drawn.trial, TrialState.COMPLETE, value=0.0)
    return 1000 * opening, points


def main():
    warnings.simplefilter("ignore")
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print(f"{trials} finished trials in a journal file; milliseconds")
    print(f"{'sampler':<10}{'open':>8}{'median':>10}{'longest':>10}")
    for name in sys.argv[2:] or samplers.NAMES:
        with tempfile.TemporaryDirectory() as root:
            opening, points = measure(*prepared(name, trials, Path(root)))
        median, longest = statistics.median(points), max(points)
        print(f"{name:<10}{opening:8.0f}{median:10.1f}{longest:10.1f}", flush=True)


if __name__ == "__main__":
    main()
