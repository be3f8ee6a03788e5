"""What tracking costs a trial, and whether it loses anything when its server is killed.

    python -m benchmarks.tracking cost [--store sqlite|server|postgres] [--repeats 5]
    python -m benchmarks.tracking kill [--writers 16] [--rate 5] [--seconds 90] [--away 30]

`cost` writes the records of trials of ten rungs with four metrics each, as a host does, and
publishes them, as a driver does. `kill` lets many writers write records that one driver publishes
to a server on Postgres, kills all processes of the server midway, starts it again, and counts in
its database.
"""

import argparse
import math
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import create_engine, text

from benchmarks.postgres import postgres
from benchmarks.server import Server
from sweeps.host.trial_record import TrialRecord
from sweeps.results.best import Best
from sweeps.results.folder import SweepFolder
from sweeps.results.scores_file import Captions, Scores
from sweeps.rung_result import RungResult
from sweeps.tracking.client import Tracking
from sweeps.tracking.sources import waiting
from sweeps.tracking.sweep_run import SweepRun
from workers.data.sample import DataSet, Sample
from workers.metrics.scorer import Scored
from workers.recipe import Data
from workers.report import Prediction, Report

RUNGS = 10
IMAGES = 64
"""Validation images, as many as the quick start has."""
METRICS = ("val/cider", "val/bleu_4", "val/loss", "train/loss")
_FLUSH_SECONDS = 300.0

Seconds = NDArray[np.float64]
"""Wall, and CPU of this process."""

SAMPLES = tuple(
    Sample(
        id=f"{number}.png",
        open=lambda: Image.new("RGB", (64, 64), "red"),
        captions=("crimson disc beside azure box",) * 3,
    )
    for number in range(IMAGES)
)
PREDICTIONS = tuple(
    Prediction(image_id=one.id, caption="crimson disc", references=tuple(one.captions))
    for one in SAMPLES
)
DATA = DataSet(splits={"train": SAMPLES, "validation": SAMPLES, "test": ()}, digest="0" * 64)


def report(rung: int) -> Report:
    """Return a rung with four metrics, each one better than the last."""
    metrics = {name: (rung + 1) / (place + 2) for place, name in enumerate(METRICS)}
    return Report(rung=rung, metrics=metrics, finished=rung == RUNGS, seconds=1.0)


def scores() -> Scores:
    """Return scores per image as four COCO metrics keep them."""
    sizes = {"bleu": 10, "meteor": 24, "rouge_l": 2, "cider": 2}
    generator = np.random.default_rng(0)
    scored = Scored(
        ids=tuple(one.id for one in SAMPLES),
        corpus=dict.fromkeys(sizes, 0.5),
        images={name: generator.random(IMAGES) for name in sizes},
        statistics={name: generator.random((IMAGES, size)) for name, size in sizes.items()},
    )
    return Scores(references="0" * 64, best=Captions(beams=1, scored=scored))


class Stopwatch:
    """Adds up the seconds (wall, CPU of this process) of what it runs, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, Seconds] = {}

    def __call__(self, name: str, work: Callable[[], object]) -> None:
        began = _now()
        work()
        self.seconds[name] = self.seconds.get(name, 0.0) + _now() - began


def _now() -> Seconds:
    return np.array([time.perf_counter(), time.process_time()])


def result(told: Report) -> RungResult:
    """Return a rung as its host puts it on record."""
    metrics = dict(told.metrics)
    return RungResult(rung=told.rung, metrics=metrics, seconds=told.seconds, time=time.time())


def trial(sweep: SweepRun, name: str) -> dict[str, Seconds]:
    """Write the record of one trial, each rung the best, and publish it; return seconds by part."""
    watch, kept = Stopwatch(), scores()
    record = TrialRecord(folder=sweep.folder, trial=name)
    params = {"adapter.rank": "8", "train.learning_rate": "0.001", "quantization": "nf4"}
    watch("open", lambda: record.opened(name, params, {"host": "a"}))
    watch("inputs", lambda: record.log_data(Data(source="shapes"), DATA, SAMPLES))
    watch("rungs", lambda: record.log_baseline(report(0), "cider"))
    watch("examples", lambda: record.log_examples(SAMPLES[:2], ["crimson disc"] * 2, 0))
    for rung in range(1, RUNGS + 1):
        told = report(rung)
        best = Best(value=told.metrics["val/cider"], rung=rung, metrics=told.metrics)
        watch("scores per image", lambda: record.keep_scores(kept))
        watch("rungs", lambda told=told, best=best: record.log_rung(result(told), best))  # type: ignore[misc]
    watch("predictions", lambda: record.log_predictions(PREDICTIONS, SAMPLES))
    watch("examples", lambda: record.log_examples(SAMPLES[:2], ["crimson disc"] * 2, RUNGS))
    watch("published", sweep.publisher.publish)
    watch("published", lambda: sweep.close_trial(name, "completed"))
    return watch.seconds


@contextmanager
def store(kind: str, folder: Path) -> Iterator[Tracking]:
    """Give a store of MLflow: the embedded one, or a server on SQLite or Postgres."""
    root = folder / "results"
    if kind == "sqlite":
        yield Tracking(uri=None, experiment="measured", root=root)
    elif kind == "server":
        with served(folder, f"sqlite:///{folder}/tracking.db", workers=1) as server:
            yield Tracking(uri=server.uri, experiment="measured", root=root)
    else:
        with postgres(folder) as address, served(folder, address, workers=2) as server:
            yield Tracking(uri=server.uri, experiment="measured", root=root)


@contextmanager
def served(folder: Path, address: str, *, workers: int) -> Iterator[Server]:
    """Give a server on a database."""
    server = Server(folder, address, workers=workers)
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.kill()


def cost(kind: str, repeats: int) -> None:
    """Print the seconds of each part of a trial's tracking, and what share of a rung that is."""
    with tempfile.TemporaryDirectory() as folder, store(kind, Path(folder)) as tracking:
        sweep = SweepRun.open(tracking, "s-1", "", {})
        trial(sweep, "warm-up")
        taken = [trial(sweep, f"trial-{number:03d}") for number in range(repeats)]
    print(f"{kind}: median seconds of a trial of {RUNGS} rungs, {repeats} trials: wall, CPU here")
    for part in taken[0]:
        wall, cpu = np.median([one[part] for one in taken], axis=0)
        print(f"  {part:18}{wall:8.3f}{cpu:8.3f}")
    for one in taken:
        del one["published"]
    wall, cpu = np.median([sum(one.values()) for one in taken], axis=0)
    print(f"  {'all in its host':18}{wall:8.3f}{cpu:8.3f}")
    print(f"  under 2 % of a trial whose rungs take {wall / RUNGS / 0.02:.1f} seconds or more")


def write(folder: SweepFolder, name: str, rate: float, count: int) -> None:
    """Put `count` rungs on record at `rate` a second, as a host does."""
    record = TrialRecord(folder=folder, trial=name)
    record.opened(name, {"a": "1"}, {})
    began = time.monotonic()
    longest = 0.0
    for rung in range(1, count + 1):
        time.sleep(max(0.0, began + rung / rate - time.monotonic()))
        asked = time.monotonic()
        record.log_rung(result(report(rung)), None)
        longest = max(longest, time.monotonic() - asked)
    late = time.monotonic() - began - count / rate
    print(f"{name}: longest report {longest:.2f} s, {late:.1f} s behind at the end", flush=True)


def kill(writers: int, rate: float, seconds: float, away: float) -> None:
    """Publish what writers report while the server is killed and started again; count it."""
    count = math.ceil(rate * seconds)
    with tempfile.TemporaryDirectory() as temporary, postgres(Path(temporary)) as address:
        folder = Path(temporary)
        with served(folder, address, workers=2) as server:
            tracking = Tracking(uri=server.uri, experiment="killed", root=folder / "results")
            sweep = SweepRun.open(tracking, "s-1", "", {})
            fork = multiprocessing.get_context("fork")
            names = [f"trial-{number:03d}" for number in range(writers)]
            processes = [
                fork.Process(target=write, args=(sweep.folder, name, rate, count)) for name in names
            ]
            for process in processes:
                process.start()
            with sweep.publisher.running():
                time.sleep(seconds / 3)
                server.kill()
                print(f"server killed; {stored(address)[0]} rungs are stored", flush=True)
                time.sleep(away)
                server.start()
                for process in processes:
                    process.join()
            for name in names:
                sweep.close_trial(name, "completed")
            print(f"{waiting(sweep.folder).count} lines wait at the end", flush=True)
            deadline = time.monotonic() + _FLUSH_SECONDS
            while waiting(sweep.folder).count and time.monotonic() < deadline:
                sweep.publisher.publish(again=True)
                time.sleep(0.5)
        _say(address, writers, count)


def stored(address: str) -> tuple[int, int, int]:
    """Return rungs in the database, those of them that are there twice, and runs."""
    engine = create_engine(address)
    with engine.connect() as database:
        rows = database.execute(text(
            "SELECT count(*), count(DISTINCT (run_uuid, step)), count(DISTINCT run_uuid)"
            " FROM metrics WHERE key = 'val/cider'"
        )).one()  # fmt: skip
    engine.dispose()
    return int(rows[1]), int(rows[0] - rows[1]), int(rows[2])


def _say(address: str, writers: int, count: int) -> None:
    rungs, twice, runs = stored(address)
    engine = create_engine(address)
    with engine.connect() as database:
        ended = database.execute(
            text("SELECT count(*) FROM runs WHERE status = 'FINISHED'")
        ).scalar()
        rows = database.execute(
            text("SELECT count(*) FROM metrics WHERE key NOT LIKE 'system/%'")
        ).scalar()
    engine.dispose()
    wanted = writers * count
    print(f"{rungs} of {wanted} rungs stored, {wanted - rungs} lost, {twice} doubled; "
          f"{rows} of {wanted * (len(METRICS) + 1)} metrics; {runs} of {writers} runs, "
          f"{ended} ended")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    share = commands.add_parser("cost")
    share.add_argument("--store", choices=["sqlite", "server", "postgres"], default="sqlite")
    share.add_argument("--repeats", type=int, default=5)
    share.set_defaults(run=lambda given: cost(given.store, given.repeats))
    killed = commands.add_parser("kill")
    killed.add_argument("--writers", type=int, default=16)
    killed.add_argument("--rate", type=float, default=5.0)
    killed.add_argument("--seconds", type=float, default=90.0)
    killed.add_argument("--away", type=float, default=30.0)
    killed.set_defaults(
        run=lambda given: kill(given.writers, given.rate, given.seconds, given.away)
    )
    given = parser.parse_args()
    given.run(given)


if __name__ == "__main__":
    main()
