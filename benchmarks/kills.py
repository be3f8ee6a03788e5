"""kill -9 of the driver at random moments, then resume: is anything lost or done twice?

    python -m benchmarks.kills [--kills 20] [--trials 12] [--seed 0]

Runs a serial seeded sweep undisturbed, then the same sweep with its driver killed again and again,
and compares the two. A moment is drawn as a number of rungs on record and a delay after that, so
that it does not depend on how fast the machine is.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from sweeps.board.handle import SweepHandle
from sweeps.results import record
from sweeps.results.folder import SweepFolder
from workers.tiny.git import make_model, make_processor

FILE = """
name: killed
model: {{base: {base}}}
data: {{source: shapes, limit: 24, split: {{train: 0.5, validation: 0.25, test: 0.25}}}}
train: {{epochs: {epochs}, batch_size: 4}}
adapter: {{dropout: 0.1}}
evaluate: {{metrics: [exact_match], max_new_tokens: 4}}
guard: {{stop: false}}                    # the base is untrained and has few words
search:
  space:
    adapter.rank: {{choice: [2, 4, 8]}}
    train.learning_rate: {{log_uniform: [1e-4, 1e-1]}}
  sampler: {{name: tpe, seed: 0, options: {{startup_trials: 4}}}}
  objective: {{metric: loss}}
  trials: {trials}
schedule: {{{schedule}}}
resources: {{hosts: 1, slots: {slots}}}
disk: {{keep: 3}}
"""
ID = "killed-1"
LONGEST_SECONDS = 1800.0


@dataclass(frozen=True, kw_only=True)
class Left:
    """What a sweep left."""

    table: tuple[tuple[str, str, float | None, int], ...]
    """Title, state, best objective and rungs of each trial, best first."""
    repeated: int
    """Rungs that are more than once in MLflow."""
    unequal: int
    """Trials whose rungs in MLflow are not those on record."""
    doctor: str
    """What `sweeps doctor` said; empty when it found no difference."""


def base_in(folder: Path) -> Path:
    """Save a GIT with random weights, as any checkpoint from the hub."""
    processor = make_processor()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        make_model(len(processor.tokenizer)).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def prepare(
    workplace: Path,
    base: Path,
    *,
    trials: int,
    slots: int,
    epochs: int = 4,
    schedule: str = "name: asha, grace: 1, reduction: 3",
) -> Path:
    """Write the sweep file into a new folder and return the folder."""
    workplace.mkdir(parents=True, exist_ok=True)
    text = FILE.format(base=base, trials=trials, slots=slots, epochs=epochs, schedule=schedule)
    (workplace / "killed.yaml").write_text(text)
    return workplace


def start(workplace: Path, *arguments: str) -> subprocess.Popen[str]:
    """Begin a command of the CLI in its own process group, as a terminal does."""
    return subprocess.Popen(
        [sys.executable, "-c", "from sweeps.cli.app import main; main()", *arguments],
        cwd=workplace, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


def command(workplace: Path, *arguments: str) -> tuple[int, str]:
    """Run a command of the CLI to its end and return its exit code and what it printed."""
    process = start(workplace, *arguments)
    output, _ = process.communicate(timeout=LONGEST_SECONDS)
    return process.returncode, output


def killed(workplace: Path, kills: int, seed: int) -> Iterator[int]:
    """Run the sweep to its end with its driver killed `kills` times; yield the rungs at each."""
    draws = random.Random(seed)
    whole = expected_rungs(workplace)
    arguments: tuple[str, ...] = ("run", "killed.yaml")
    for number in range(kills):
        process = start(workplace, *arguments)
        # The moments are spread over the sweep, and some come before the first new rung.
        _wait(workplace, process, int(whole * (number + draws.random()) / kills))
        time.sleep(draws.uniform(0.0, 1.5))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        begun = (workplace / "sweep-results" / ID / "sweep.yaml").exists()
        arguments = ("resume", ID) if begun else ("run", "killed.yaml", "--fresh")
        yield recorded(workplace)
    code, output = command(workplace, *arguments)
    if code:
        raise RuntimeError(output)


def expected_rungs(workplace: Path) -> int:
    """Return about how many rungs the sweep has: ASHA stops two of three trials early."""
    words = (workplace / "killed.yaml").read_text().split()
    trials = int(words[words.index("trials:") + 1])
    return trials * 2


def recorded(workplace: Path) -> int:
    """Return the rungs on record."""
    folder = SweepFolder(root=workplace / "sweep-results", sweep_id=ID)
    return sum(len(record.read(folder, trial)) for trial in folder.trials())


def left(workplace: Path) -> Left:
    """Read back what a sweep left."""
    results = workplace / "sweep-results"
    earlier = SweepHandle.find(results, ID)
    runs = earlier.run.run_ids()
    repeated = unequal = 0
    for trial in earlier.board.trials:
        history = earlier.run.client.get_metric_history(runs[trial.name], "val/loss")
        counted = Counter(int(point.step) for point in history)
        repeated += sum(times > 1 for times in counted.values())
        rungs = [one.rung for one in record.read(earlier.folder, trial.name)]
        unequal += rungs != sorted(set(counted) - {0})
    code, said = command(workplace, "doctor", ID)
    table = tuple(
        (trial.title, trial.state, trial.score, trial.rung) for trial in earlier.board.trials
    )
    return Left(table=table, repeated=repeated, unequal=unequal, doctor=said if code else "")


def _wait(workplace: Path, process: subprocess.Popen[str], rungs: int) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    while process.poll() is None and recorded(workplace) < rungs:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{workplace} has {recorded(workplace)} rungs, not {rungs}")
        time.sleep(0.05)


def main() -> None:
    """Print when the driver was killed, and how the two sweeps compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        base = base_in(root / "base")
        quiet = prepare(root / "undisturbed", base, trials=given.trials, slots=1)
        code, output = command(quiet, "run", "killed.yaml")
        if code:
            raise RuntimeError(output)
        noisy = prepare(root / "killed", base, trials=given.trials, slots=1)
        print("| kill | rungs on record |\n|---|---|")
        for number, rungs in enumerate(killed(noisy, given.kills, given.seed), 1):
            print(f"| {number} | {rungs} |", flush=True)
        _report(left(quiet), left(noisy), recorded(quiet), recorded(noisy))


def _report(quiet: Left, noisy: Left, whole: int, kept: int) -> None:
    print("\n| | undisturbed | killed |\n|---|---|---|")
    print(f"| trials | {len(quiet.table)} | {len(noisy.table)} |")
    print(f"| rungs | {whole} | {kept} |")
    print(f"| rungs twice in MLflow | {quiet.repeated} | {noisy.repeated} |")
    print(f"| trials whose records differ | {quiet.unequal} | {noisy.unequal} |")
    print(f"| `sweeps doctor` | {quiet.doctor or 'agrees'} | {noisy.doctor or 'agrees'} |")
    print(f"\nfinal tables are {'equal' if quiet.table == noisy.table else 'NOT equal'}")
    if quiet.table != noisy.table:
        for one, other in zip(quiet.table, noisy.table, strict=False):
            print(f"  {one}\n  {other}")


if __name__ == "__main__":
    main()
