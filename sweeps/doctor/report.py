"""``sweeps doctor``: looks for what stops a sweep on this machine, and says how to mend it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.text import Text

from sweeps.doctor import machine, packages
from sweeps.doctor.finding import Finding
from workers.files import cache

HEALTHY, BROKEN = 0, 1
"""Exit codes."""
_COLOURS = {"ok": "green", "note": "yellow", "broken": "bold red"}
_PARALLEL = 2  # most checks wait for an import in another process


def examine(results: Path, console: Console) -> int:
    """Print one line per check; return `BROKEN` when one of them would stop a sweep."""
    named = checks(results)
    broken = 0
    with ThreadPoolExecutor(_PARALLEL) as pool:
        for name, finding in zip(named, pool.map(outcome, named.values()), strict=True):
            console.print(_line(name, finding), soft_wrap=True)
            broken += finding.state == "broken"
    console.print(f"{broken} broken: a sweep would stop there" if broken else "ready for a sweep")
    return BROKEN if broken else HEALTHY


def checks(results: Path) -> dict[str, Callable[[], Finding]]:
    """Return all checks by name, for sweeps whose results go to `results`."""
    another = f"name another folder with {cache.VARIABLE}"
    return {
        "java": machine.java,
        "gpus": machine.gpus,
        "bitsandbytes": packages.bitsandbytes,
        "torchvision": packages.torchvision,
        "results": partial(machine.disk, results, "name another folder with --results"),
        "cache": partial(machine.disk, cache.folder(), another),
        "ray": machine.ray,
        "tracking": partial(packages.tracking, results),
        "versions": packages.versions,
    }


def outcome(check: Callable[[], Finding]) -> Finding:
    """Return what a check finds; one that raises has found something broken."""
    try:
        return check()
    except Exception as error:  # whatever it is, the other checks go on
        return Finding("broken", f"{type(error).__name__}: {error}")


def _line(name: str, finding: Finding) -> Text:
    mend = f" -> {finding.mend}" if finding.mend else ""
    return Text.assemble(
        (f"{finding.state:<7}", _COLOURS[finding.state]), f" {name:<13} {finding.text}{mend}"
    )
