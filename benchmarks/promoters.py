"""Several promoters at once: does the ledger lose, reorder or break anything?

    python -m benchmarks.promoters [--promoters 5] [--rounds 20] [--postgres FOLDER]

Each promoter is a process. In each round all of them promote a version of their own to champion of
one model at the same moment; the judge accepts after a pause of up to 50 ms, as a gate takes time.
After each round the ledger is read as it stands in MLflow and compared with what the promoters say
they did. First on SQLite, then on a Postgres that is started with the programs in FOLDER, such as
/usr/lib/postgresql/15/bin (by the user postgres where root runs this).
"""

import argparse
import json
import multiprocessing
import os
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from benchmarks.tables import print_table
from sweeps.promotion.ledger import Ledger, LedgerEntry
from sweeps.tracking.client import Tracking

MODEL = "contested"
PAUSE_SECONDS = 0.05
LONGEST_SECONDS = 300.0

_barrier: Barrier
"""In a promoter's process: where all of them meet before a round."""


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """What a promoter did in a round."""

    entry: LedgerEntry
    judged: tuple[str | None, ...]
    """The champions that its judge saw; the last is the one it replaced."""
    seconds: float


@dataclass
class Found:
    """What was found in a store over all rounds."""

    store: str
    promotions: list[Promotion] = field(default_factory=list)
    entries: int = 0
    lost: int = 0
    """Promotions that a promoter reported and the ledger does not hold as reported."""
    breaks: int = 0
    """Entries whose `from` is not the `to` of the entry before."""
    astray: int = 0
    """Rounds after which the alias was not the head."""

    @property
    def sound(self) -> bool:
        """Say whether all is as it must be."""
        told = self.entries == len(self.promotions)
        return told and not (self.lost or self.breaks or self.astray)


def contest(tracking: Tracking, promoters: int, rounds: int) -> Found:
    """Let the promoters promote at once, round after round, and look at the ledger after each."""
    found = Found(tracking.address.partition(":")[0])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow", __name__])
    barrier = context.Barrier(promoters)
    versions = _register(tracking, promoters * rounds)
    with ProcessPoolExecutor(promoters, context, _prepare, (barrier,)) as pool:
        for number in range(rounds):
            own = versions[number * promoters : (number + 1) * promoters]
            found.promotions += pool.map(_promote, [tracking] * promoters, own)
            _look(tracking, found)
    return found


def _register(tracking: Tracking, count: int) -> list[str]:
    """Register that many versions; only their numbers matter here."""
    client = tracking.client()
    client.create_registered_model(MODEL)
    source = (tracking.root / "nothing").as_uri()
    return [str(client.create_model_version(MODEL, source).version) for _ in range(count)]


def _prepare(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _promote(tracking: Tracking, version: str) -> Promotion:
    ledger, judged = Ledger.open(tracking, MODEL), list[str | None]()
    draws = random.Random(version)

    def judge(head: LedgerEntry | None) -> LedgerEntry:
        judged.append(head.version if head else None)
        time.sleep(draws.uniform(0, PAUSE_SECONDS))
        return LedgerEntry(kind="promotion", version=version, by=str(os.getpid()), why="accepted")

    tracking.client().search_experiments()  # imports and connects before the start
    _barrier.wait(LONGEST_SECONDS)
    begun = time.perf_counter()
    entry = ledger.change_champion(judge)
    assert entry is not None
    return Promotion(entry=entry, judged=tuple(judged), seconds=time.perf_counter() - begun)


def _look(tracking: Tracking, found: Found) -> None:
    """Read the ledger past `Ledger`, and note what is wrong; all of it from the beginning."""
    client = tracking.client()
    experiment = client.get_experiment_by_name(f"ledger of {MODEL}")
    (run,) = client.search_runs([experiment.experiment_id])
    kept = [json.loads(text) for _, text in sorted(run.data.params.items())]
    found.entries = len(kept)
    before = [None, *(entry["version"] for entry in kept)]
    found.breaks = sum(entry["previous"] != was for entry, was in zip(kept, before, strict=False))
    by_id = {entry["id"]: entry for entry in kept}
    found.lost = sum(not _is_kept(done, by_id) for done in found.promotions)
    alias = client.get_model_version_by_alias(MODEL, "champion").version
    found.astray += str(alias) != kept[-1]["version"]


def _is_kept(done: Promotion, by_id: dict[str, dict[str, Any]]) -> bool:
    entry = by_id.get(done.entry.id, {})
    return entry.get("version") == done.entry.version and entry["previous"] == done.judged[-1]


@contextmanager
def postgres(programs: Path) -> Iterator[str]:
    """Run a Postgres of its own on a socket in a temporary folder; give its address."""
    with tempfile.TemporaryDirectory() as folder:
        as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if as_user:
            os.chmod(folder, 0o777)
        data, log = f"{folder}/data", f"{folder}/log"
        control = [*as_user, str(programs / "pg_ctl"), "-D", data, "-w"]
        _quietly([*as_user, str(programs / "initdb"), "-D", data, "-U", "postgres"])
        _quietly([*control, "-l", log, "-o", f"-k {folder} -c listen_addresses=''", "start"])
        try:
            yield f"postgresql+psycopg2://postgres@/postgres?host={folder}"
        finally:
            _quietly([*control, "-m", "fast", "stop"])


def _quietly(command: list[str]) -> None:
    done = subprocess.run(command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode:
        raise RuntimeError(f"{command[-1]}: {done.stderr.decode()}")


def main() -> None:
    """Print what was found in each store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--promoters", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--postgres", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        plain = Tracking(uri=None, experiment="none", root=Path(folder))
        found.append(contest(plain, given.promoters, given.rounds))
        if given.postgres:
            with postgres(given.postgres) as address:
                other = Tracking(uri=address, experiment="none", root=Path(folder))
                found.append(contest(other, given.promoters, given.rounds))
    _report(found, given.promoters, given.rounds)
    raise SystemExit(not all(each.sound for each in found))


def _report(found: list[Found], promoters: int, rounds: int) -> None:
    columns = [
        "store", "promoters", "rounds", "entries", "lost", "breaks in the chain",
        "rounds with alias not at head", "judged", "most for one", "median s", "longest s",
    ]  # fmt: skip
    print_table(columns, [_row(each, promoters, rounds) for each in found])


def _row(found: Found, promoters: int, rounds: int) -> list[str]:
    tries = [len(done.judged) for done in found.promotions]
    seconds = [done.seconds for done in found.promotions]
    counts = [promoters, rounds, found.entries, found.lost, found.breaks, found.astray]
    times = [f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}"]
    return [found.store, *map(str, [*counts, sum(tries), max(tries)]), *times]


if __name__ == "__main__":
    main()
