"""One run of one rung, measured, and the file that holds a series of them."""

import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from benchmarks import mps
from benchmarks.ladder import meter, outcome, prepare
from benchmarks.ladder.rungs import Rung
from workers.files.atomic import atomic_write

FOLDER = Path(__file__).parent / "results"


def measure(name: str, rung: Rung, data: Path, trials: int, round_: int, asha: bool) -> Any:
    """Run a rung once and return what is stored of it; times in seconds."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix=f"ladder-{name}-") as work:
        job = prepare.job(Path(work), data, trials, asha=asha, **rung.settings)
        sharing: AbstractContextManager[dict[str, str]] = (
            mps.running() if rung.mps else nullcontext({})
        )
        with sharing as clients:
            environment = prepare.environment(rung.java) | prepare.fresh_cache(Path(work)) | clients
            run = meter.run(rung.module, job.write(), environment)
        ended = outcome.trials(job)
    return {
        "rung": name,
        "round": round_,
        "asha": asha,
        "makespan": max(trial.ended for trial in ended) - run.started,
        "wall": run.wall,
        "cpu": run.cpu,
        "load": load,
        "cider": [max(trial.cider) for trial in ended],
        "epochs": [len(trial.cider) for trial in ended],
        "loss": [trial.loss for trial in ended],
        "phases": {phase: sum(trial.phases[phase] for trial in ended) for phase in ended[0].phases},
        "points": job.points,
    }


def write(path: Path, machine: dict[str, str], results: Sequence[Any]) -> None:
    """Write a series, replacing it as it grows."""
    path.parent.mkdir(exist_ok=True)
    atomic_write(path, json.dumps({"machine": machine, "results": list(results)}, indent=1))


def read(path: Path) -> tuple[dict[str, str], list[Any]]:
    """Return machine and results of a series."""
    stored = json.loads(path.read_text())
    return stored["machine"], stored["results"]
