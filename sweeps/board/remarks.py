"""Remarks below a leaderboard: budget, grace, population."""

from collections.abc import Collection

from sweeps.results import segments
from sweeps.results.budget import Spent
from sweeps.results.folder import SweepFolder
from sweeps.schedulers import fidelity
from sweeps.spec.load import Sweep
from sweeps.study.trials import TrialState


def remarks(sweep: Sweep, folder: SweepFolder, trials: Collection[TrialState]) -> tuple[str, ...]:
    """Return sentences, read from the sweep's folder."""
    over = [trial.name for trial in trials if not trial.is_open]
    spent = Spent(
        folder, sweep.search.budget, (trial.name for trial in trials),
        gpus_per_host=sweep.resources.gpus_per_host,
    )  # fmt: skip
    said = []
    if spent.used_up and len(over) < sweep.search.trials:
        said.append(f"budget used up after {len(over)} of {sweep.search.trials} trials: {spent}")
    found = fidelity.read(sweep, folder, over)
    if found:
        said.append(str(found))
    return (*said, *_population(folder))


def _population(folder: SweepFolder) -> tuple[str, ...]:
    compared = segments.generations(folder)
    if not compared:
        return ()
    rungs = ", ".join(map(str, sorted({one.rung for one in compared})))
    taken = sum(len(one.segments) for one in compared)
    return (f"trials were compared at rungs {rungs}; went on with a better one's state: {taken}",)
