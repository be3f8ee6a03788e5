"""How long each sampler takes for the next point after many finished trials.

    python -m benchmarks.suggest [TRIALS [SAMPLER ...]]

Prints a table in milliseconds, with a study in a journal file that holds so many finished trials
(2,000 unless given): to open the study, and for each of nine points (medians, and the longest).
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

from search_spaces.space import placed
from sweeps import samplers
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import Sweep, parse
from sweeps.study.study import open_study, prepare_study, tell
from sweeps.study.suggester import Suggester

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


def prepared(name: str, trials: int, root: Path) -> tuple[Sweep, SweepFolder]:
    """A sweep, and its folder with so many finished trials at random points."""
    grid = "{choice: [0.00001, 0.00003, 0.0001, 0.0003]}"
    rates = grid if name == "grid" else "{log_uniform: [0.00001, 0.001]}"
    sweep = parse(FILE.format(name=name, rates=rates))
    folder = SweepFolder.create(root, sweep.name)
    study, _ = prepare_study(sweep, folder, resuming=False)
    random = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for number in range(trials):
        point, given = placed(sweep.search.space, sweep.search.space.suggest(random.ask()))
        value = -float(str(point["adapter.dropout"]))
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


def measure(sweep: Sweep, folder: SweepFolder) -> tuple[float, list[float], list[float]]:
    """Return milliseconds: to open the study, and of wall clock and CPU for each of some points."""
    begun = time.perf_counter()
    study = open_study(sweep, folder)
    suggester = Suggester(study, sweep)
    opening, wall, cpu = time.perf_counter() - begun, [], []
    for _ in range(POINTS):
        begun, busy = time.perf_counter(), time.process_time()
        drawn = suggester.next()
        wall.append(1000 * (time.perf_counter() - begun))
        cpu.append(1000 * (time.process_time() - busy))
        assert drawn is not None
        tell(study, drawn.trial, TrialState.COMPLETE, value=0.0)
    return 1000 * opening, wall, cpu


def main() -> None:
    warnings.simplefilter("ignore")
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print("| sampler | finished trials | open | CPU | wall | longest |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in sys.argv[2:] or samplers.NAMES:
        with tempfile.TemporaryDirectory() as root:
            opening, wall, cpu = measure(*prepared(name, trials, Path(root)))
        figures = (opening, statistics.median(cpu), statistics.median(wall), max(wall))
        print(f"| {name} | {trials} |", " | ".join(f"{ms:.0f}" for ms in figures), "|", flush=True)


if __name__ == "__main__":
    main()
