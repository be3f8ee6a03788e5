"""What the driver itself costs: simulated trials on hosts that know every curve already.

    python benchmarks/driver.py --trials 1000 --slots 32 --scheduler asha

Real Ray Tune, real Trainables in processes of their own, real Optuna with its journal; no torch,
no MLflow. Prints CPU milliseconds of the driver's process per trial and per rung, for each quarter
of the trials, and what of it the sampler took to propose a point. With ``--without-ray`` bridge,
scheduler and records are asked in Tune's order but without Tune.
"""

import argparse
import math
import resource
import tempfile
import time
from collections import deque
from pathlib import Path
from types import SimpleNamespace

import ray
from ray import tune
from ray.tune.schedulers import TrialScheduler

from sweeps.driver import search
from sweeps.fleet import cluster
from sweeps.fleet.placement import Room
from sweeps.fleet.starting import start_fleet
from sweeps.host.context import SweepContext
from sweeps.results import record
from sweeps.results.budget import Spent
from sweeps.results.folder import SweepFolder
from sweeps.rung_result import RungResult
from sweeps.schedulers.sweep_scheduler import SweepScheduler
from sweeps.spec.load import parse
from sweeps.study import searcher

FILE = """
name: simulated
model: {{base: nothing}}
data: {{source: shapes}}
train: {{epochs: {epochs}}}
search: {{sampler: {{name: {sampler}}}, trials: {trials}}}
schedule: {{name: {scheduler}}}
"""


class CurveHost:
    """Answers as a host does; the curves are a formula of the point."""

    def __init__(self, folder: SweepFolder, epochs: int) -> None:
        self._folder, self._epochs = folder, epochs
        self._points: dict[int, dict[str, float]] = {}
        self._rungs: dict[int, int] = {}

    def open(self, number: int, point: dict[str, float], start: None, opening: str = "") -> None:
        """Take a trial."""
        past = record.read(self._folder, f"trial-{number:03d}")
        self._points[number], self._rungs[number] = point, len(past)

    def advance(self, number: int) -> RungResult:
        """Return the next rung; several trials at a time, as on several hosts."""
        self._rungs[number] += 1
        rung, rate = self._rungs[number], math.log10(self._points[number]["train.learning_rate"])
        value = math.exp(-((rate + 3.7) ** 2)) * (1 - math.exp(-rung / 4))
        result = RungResult(
            rung=rung,
            objective=value,
            best=value,
            finished=rung == self._epochs,
            seconds=1.0,
            time=time.time(),
        )
        record.append(self._folder, f"trial-{number:03d}", result)
        return result

    def close(self, number: int, opening: str = "") -> None:
        """Let a trial go."""
        self._points.pop(number, None)


class Meter(tune.Callback):
    """Notes the driver's CPU seconds each time that a trial ends."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, float, int]] = []
        """CPU seconds in all, those of proposing points, and rungs so far."""
        self.rungs = 0
        self.proposing = 0.0

    def on_trial_result(self, *_: object, **__: object) -> None:
        """Count a rung."""
        self.rungs += 1

    def on_trial_complete(self, *_: object, **__: object) -> None:
        """Note the end of a trial."""
        self.ends.append((_cpu(), self.proposing, self.rungs))


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _timed(meter: Meter) -> None:
    """Let the meter see what proposing costs."""
    suggest = searcher.OptunaBridge.suggest

    def timed(self: searcher.OptunaBridge, tune_id: str) -> object:
        before = time.thread_time()
        try:
            return suggest(self, tune_id)
        finally:
            meter.proposing += time.thread_time() - before

    searcher.OptunaBridge.suggest = timed  # type: ignore[assignment, method-assign]


def measure(options: argparse.Namespace, root: Path) -> Meter:
    """Run the sweep and return what was noted."""
    text = FILE.format(**vars(options))
    sweep, folder = parse(text), SweepFolder.create(root, "simulated")
    context = SweepContext(sweep=sweep, folder=folder, threads=1)
    name, fleet = f"{folder.sweep_id}/host-0", start_fleet(folder.sweep_id)
    ray.get(fleet.add.remote(name, Room(slots=options.slots)))
    host = ray.remote(CurveHost).options(name=name, num_cpus=0, max_concurrency=options.slots)
    kept = host.remote(folder, options.epochs, options.seconds)  # noqa: F841  # an actor ends with its last handle
    meter = Meter()
    _timed(meter)
    spent = Spent(folder, sweep.search.budget, ())
    asked = searcher.OptunaBridge(sweep, folder)
    search.tune_trials(context, lambda: options.slots, asked, [meter], (), spent)
    return meter


def play(options: argparse.Namespace, root: Path) -> Meter:
    """Do the same without Ray's processes: ask and tell in Tune's order, slot after slot."""
    sweep, folder = parse(FILE.format(**vars(options))), SweepFolder.create(root, "simulated")
    spent, meter = Spent(folder, sweep.search.budget, ()), Meter()
    _timed(meter)
    asked = searcher.OptunaBridge(sweep, folder)
    asked.slots, asked.spent = lambda: options.slots, spent
    scheduler = SweepScheduler(sweep, spent, lambda: options.slots, {}, lambda: asked.more_to_come)
    host, live = CurveHost(folder, options.epochs), deque[SimpleNamespace]()
    while True:
        while len(live) < options.slots:
            name = str(len(meter.ends) + len(live))
            config = asked.suggest(name)
            if not isinstance(config, dict):
                break
            live.append(SimpleNamespace(trial_id=name, config=config, status="RUNNING"))
            host.open(config["number"], config["point"], None)
            scheduler.on_trial_add(None, live[-1])
        if not live:
            return meter
        trial = live.popleft()
        result = host.advance(trial.config["number"]).to_json()
        meter.on_trial_result()
        if (
            not result["finished"]
            and scheduler.on_trial_result(None, trial, result) == TrialScheduler.CONTINUE
        ):
            asked.on_trial_result(trial.trial_id, result)
            live.append(trial)
            continue
        scheduler.on_trial_complete(None, trial, result)
        asked.on_trial_complete(trial.trial_id, result)
        meter.on_trial_complete()


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.5, help="that a rung takes")
    parser.add_argument("--scheduler", default="asha")
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--without-ray", action="store_true", help="Tune's own share left out")
    options = parser.parse_args()
    if not options.without_ray:
        cluster.connect()
    with tempfile.TemporaryDirectory() as root:
        started = time.monotonic()
        meter = (play if options.without_ray else measure)(options, Path(root))
    seconds = time.monotonic() - started
    print(f"{options.sampler}, {options.scheduler}, {options.slots} slots, {options.trials} trials")
    print(f"{meter.rungs} rungs in {seconds:.0f} s of wall time")
    print("| trials | rungs | ms per trial | of these proposing | other, per rung |")
    print("|---|---|---|---|---|")
    marks = [meter.ends[round(len(meter.ends) * part / 4) - 1] for part in range(1, 5)]
    before = (meter.ends[0][0], 0.0, 0)
    quarter = len(meter.ends) / 4
    for part, mark in enumerate(marks):
        cpu, proposing, rungs = (a - b for a, b in zip(mark, before, strict=True))
        before = mark
        span = f"{round(part * quarter)}-{round((part + 1) * quarter)}"
        print(
            f"| {span} | {rungs} | {1e3 * cpu / quarter:.1f} | {1e3 * proposing / quarter:.1f} "
            f"| {1e3 * (cpu - proposing) / rungs:.2f} |"
        )


if __name__ == "__main__":
    main()
