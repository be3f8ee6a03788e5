"""``sweeps doctor``: looks for what stops a sweep on this machine, and prints how to fix it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from rich.console import Console

from search_spaces.issues import Issue
from sweeps.doctor import machine, packages
from sweeps.doctor.check import CheckResult, error, line
from workers.files import cache

HEALTHY, UNHEALTHY = 0, 1
"""Exit codes."""
_PARALLEL = 2  # most checks wait for an import in another process


def check_machine(results: Path, console: Console) -> int:
    """Print one line per check; return `UNHEALTHY` when one of them would stop a sweep."""
    named = checks(results)
    errors = 0
    with ThreadPoolExecutor(_PARALLEL) as pool:
        for name, result in zip(named, pool.map(run_check, named.values()), strict=True):
            console.print(line(name, result), soft_wrap=True)
            errors += isinstance(result, Issue) and result.severity == "error"
    if not errors:
        console.print("ready for a sweep")
        return HEALTHY
    console.print(f"{errors} error{'s' if errors > 1 else ''}: a sweep would stop there")
    return UNHEALTHY


def checks(results: Path) -> dict[str, Callable[[], CheckResult]]:
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


def run_check(check: Callable[[], CheckResult]) -> CheckResult:
    """Return the result of a check; one that raises is an error."""
    try:
        return check()
    except Exception as failure:  # of any kind: the other checks still run
        return error(f"{type(failure).__name__}: {failure}")
