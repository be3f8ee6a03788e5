"""``sweeps stop``, ``pause``, ``continue``, ``add``: check a request, send it, say the answer."""

from collections.abc import Iterable

from rich.console import Console

from sweeps.driver import requests
from sweeps.results import inbox, lease
from sweeps.results.folder import SweepFolder
from sweeps.results.inbox import Kind, Request
from sweeps.spec.load import load
from sweeps.study.trials import trial_states

WAIT_SECONDS = 20.0
"""So long an answer is waited for; a driver that loads a base looks for requests later."""
BEST = "best"


def ask(folder: SweepFolder, kind: Kind, console: Console, trial: str | None = None) -> int:
    """Ask the driver of a sweep for what needs no more than a trial; return the exit code."""
    return _send(folder, Request(kind=kind, trial=trial), console)


def add(
    folder: SweepFolder,
    console: Console,
    *,
    assignments: Iterable[str],
    origin: str | None,
    snapshot: str | None,
) -> int:
    """Ask for one more trial of a sweep; return the exit code."""
    request = Request(
        kind="add", trial=origin, point=requests.point_of(assignments), rung=_rung(snapshot)
    )
    return _send(folder, request, console)


def _send(folder: SweepFolder, request: Request, console: Console) -> int:
    """Send a request and print what becomes of it.

    Raises ValueError for one that makes no sense, or for which there is no driver.
    """
    sweep = load(folder.spec)
    requests.check(request, sweep, folder, trial_states(sweep, folder))
    driver = lease.living(folder)
    if driver is None and request.kind != "add":
        raise ValueError(
            f"{folder.sweep_id} is not running, so there is nothing to "
            f"{request.kind.split('-')[0]}; go on with: sweeps resume {folder.sweep_id}"
        )
    inbox.post(folder, request)
    if driver is None:
        console.print(f"kept for the next driver; begin with: sweeps resume {folder.sweep_id}")
        return 0
    answer = inbox.answered(folder, request, WAIT_SECONDS)
    if answer is None:
        console.print(f"sent to {driver}; it has not answered yet", soft_wrap=True)
        return 0
    console.print(answer.said, soft_wrap=True)
    return 0 if answer.done else 1


def _rung(snapshot: str | None) -> int | None:
    if snapshot is None:
        return None
    if snapshot == BEST:
        return 0
    if not snapshot.isdecimal() or int(snapshot) == 0:
        raise ValueError(f"--snapshot must be {BEST} or a rung from 1, got {snapshot!r}")
    return int(snapshot)
