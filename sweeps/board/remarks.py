"""What there is to say about a sweep besides its leaderboard: budget, grace, population."""

from sweeps.board.leaderboard import Leaderboard
from sweeps.results import segments
from sweeps.results.budget import Spent
from sweeps.results.folder import SweepFolder
from sweeps.schedulers import fidelity
from sweeps.spec.load import Sweep

_OPEN = ("running", "interrupted")
"""States of trials that are not over."""


def remarks(sweep: Sweep, folder: SweepFolder, board: Leaderboard) -> tuple[str, ...]:
    """Return sentences, read from the sweep's folder."""
    over = [entry.trial for entry in board.entries if entry.state not in _OPEN]
    spent = Spent.open(
        folder, sweep.search.budget, (entry.trial for entry in board.entries),
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
