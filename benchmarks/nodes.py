"""What a second node brings, and how long trials wait when one dies or joins.

    python -m benchmarks.nodes makespan [--rounds 3] [--trials 8]
    python -m benchmarks.nodes moves [--rounds 3]

Nodes are processes of this machine, each with one core as far as Ray knows. `makespan` runs the
same sweep on a cluster of one node and on one of two, in turns, while both clusters are up. `moves`
kills a node with -9 while a trial is trained there, and lets one join a sweep that has trials left.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import kills
from benchmarks.clusters import LocalCluster, environment, kill, local_cluster
from benchmarks.tables import print_table
from sweeps.results import record
from sweeps.results.folder import SweepFolder
from sweeps.tracking.client import Tracking
from sweeps.tracking.sweep_run import SweepRun

SETTINGS = ("resources.hosts=auto", "data.limit=160", "search.sampler.name=random",
            "search.sampler.options={}")  # fmt: skip
LONGEST_SECONDS = 240.0
POLL_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Makespan:
    """Seconds of one sweep."""

    command: float
    """Of the whole command, with the imports, Ray's and MLflow's beginning and the hosts'."""
    trials: float
    """From the beginning of the first trial to the end of the last one."""


class Running:
    """A sweep on a cluster, in a folder of its own."""

    def __init__(self, folder: Path, base: Path, cluster: LocalCluster, *settings: str,
                 trials: int, slots: int = 1, epochs: int = 6) -> None:  # fmt: skip
        kills.prepare(
            folder, base, trials=trials, slots=slots, epochs=epochs, schedule="name: fifo"
        )
        self._log = folder / "log"
        self.folder = SweepFolder(root=folder / "sweep-results", sweep_id=kills.ID)
        every = [part for setting in (*SETTINGS, *settings) for part in ("--set", setting)]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from sweeps.cli.app import main; main()",
                 "run", "killed.yaml", *every],
                cwd=folder, stdout=log, stderr=subprocess.STDOUT,
                env=environment(RAY_ADDRESS=cluster.address),
            )  # fmt: skip

    def said(self) -> str:
        """Return what it has printed so far."""
        return self._log.read_text()

    def runs(self) -> list[Any]:
        """Return MLflow's runs of its trials."""
        tracking = Tracking(uri=None, experiment=kills.ID[:-2], root=self.folder.root)
        return SweepRun.find(tracking, kills.ID).trials()

    def hosts(self) -> dict[str, str]:
        """Return the host of each trial that has a rung on record."""
        begun = [trial for trial in self.folder.trials() if self.rungs(trial)]
        tags = [run.data.tags for run in self.runs()] if begun else []
        return {one["trial.id"]: one["host"] for one in tags if one["trial.id"] in begun}

    def rungs(self, trial: str) -> int:
        """Return the rungs on the record of a trial."""
        return len(record.read(self.folder, trial))

    def until(self, true: Callable[[], object]) -> float:
        """Wait until something is true; return the time."""
        deadline = time.monotonic() + LONGEST_SECONDS
        while not true():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(self.said())
            time.sleep(POLL_SECONDS)
        return time.monotonic()

    def end(self) -> None:
        """Wait for its end; raises RuntimeError if that is no good one."""
        if self.process.wait(timeout=LONGEST_SECONDS):
            raise RuntimeError(self.said())

    def stop(self) -> None:
        """End it as it is."""
        self.process.kill()
        self.process.wait()


def makespan(folder: Path, base: Path, cluster: LocalCluster, trials: int) -> Makespan:
    """Run the sweep on a cluster."""
    began = time.monotonic()
    running = Running(folder, base, cluster, trials=trials)
    running.end()
    command, runs = time.monotonic() - began, running.runs()
    first, last = min(run.info.start_time for run in runs), max(run.info.end_time for run in runs)
    return Makespan(command=command, trials=(last - first) / 1000)


def compare(root: Path, base: Path, rounds: int, trials: int) -> None:
    """Print the makespans on one node and on two, and their ratios."""
    with ExitStack() as stack:
        clusters = []
        for count in (1, 2):
            (root / f"cluster-{count}").mkdir()
            clusters.append(stack.enter_context(local_cluster(root / f"cluster-{count}")))
        clusters[1].add()
        rows = []
        for number in range(1, rounds + 1):
            order = (0, 1) if number % 2 else (1, 0)
            found = {
                at: makespan(root / f"round-{number}-{at}", base, clusters[at], trials)
                for at in order
            }
            rows.append(_row(str(number), found[0], found[1]))
            print(rows[-1], file=sys.stderr, flush=True)
    print_table(
        ("round", "trials, 1 node", "2 nodes", "ratio", "command, 1 node", "2 nodes", "ratio"), rows
    )


def death(root: Path, base: Path) -> list[str]:
    """Return the seconds from a node's death to what follows from it."""
    root.mkdir()
    with local_cluster(root) as cluster:
        cluster_node = cluster.add()
        running = Running(root / "work", base, cluster, trials=2, slots=2, epochs=150)
        try:
            running.until(lambda: len(set(running.hosts().values())) == 2)
            seen = {name: running.folder.opening(name).read_text() for name in running.hosts()}
            kill(cluster_node)
            died = time.monotonic()
            told = running.until(lambda: "has left" in running.said())
            taken = running.until(lambda: _reopened(running, seen))
            (moved,) = _reopened(running, seen)
            before = running.rungs(moved)
            trained = running.until(lambda: running.rungs(moved) > before)
        finally:
            running.stop()
    return [f"{at - died:.1f}" for at in (told, taken, trained)]


def joining(root: Path, base: Path) -> list[str]:
    """Return the seconds from the start of a node to what follows from it."""
    root.mkdir()
    with local_cluster(root) as cluster:
        running = Running(root / "work", base, cluster, trials=200)
        try:
            running.until(running.hosts)
            began = time.monotonic()
            cluster.add()
            told = running.until(lambda: "has joined and takes trials" in running.said())
            trained = running.until(lambda: "host-1" in running.hosts().values())
        finally:
            running.stop()
    return [f"{at - began:.1f}" for at in (told, trained)]


def _reopened(running: Running, seen: dict[str, str]) -> list[str]:
    """Return the trials that somebody else has taken over."""
    return [name for name, word in seen.items() if running.folder.opening(name).read_text() != word]


def _row(name: str, one: Makespan, two: Makespan) -> list[str]:
    return [
        name,
        f"{one.trials:.1f}", f"{two.trials:.1f}", f"{one.trials / two.trials:.2f}",
        f"{one.command:.1f}", f"{two.command:.1f}", f"{one.command / two.command:.2f}",
    ]  # fmt: skip


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("makespan", "moves"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=8)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        base = kills.base_in(root / "base")
        if given.what == "makespan":
            compare(root, base, given.rounds, given.trials)
            return
        rows = [
            [str(number), *death(root / f"death-{number}", base),
             *joining(root / f"joining-{number}", base)]
            for number in range(1, given.rounds + 1)
        ]  # fmt: skip
        print_table(("round", "said", "taken up", "first rung", "joined", "first rung there"), rows)


if __name__ == "__main__":
    main()
