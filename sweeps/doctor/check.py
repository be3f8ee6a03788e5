"""The result of a check, the line that is printed for it, and code that runs in another process."""

import os
import subprocess
import sys

from rich.text import Text

from search_spaces.issues import Issue

PROBE_SECONDS = 120
"""A first import of torch from a cold network disk takes most of a minute."""

CheckResult = str | Issue
"""A sentence when all is in order, or an issue: an error stops a sweep, with a warning it runs,
perhaps otherwise than intended."""
_STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}


def error(message: str, fix: str = "") -> Issue:
    """Return an issue that stops a sweep."""
    return Issue((), message, fix=fix)


def warning(message: str, fix: str) -> Issue:
    """Return an issue that stops nothing."""
    return Issue((), message, fix=fix, severity="warning")


def line(name: str, result: CheckResult) -> Text:
    """Return the line that is printed for a check, or for a part of a sweep, of this name."""
    level, text = (result.severity, result.text) if isinstance(result, Issue) else ("ok", result)
    return Text.assemble((f"{level:<7}", _STYLES[level]), f" {name:<13} {text}")


class ProbeError(RuntimeError):
    """A probe failed; the message is the line of its traceback that names the error."""


def probe(code: str) -> str:
    """Run `code` in a fresh Python and return the last line that it printed.

    A broken package can take its process down or leave half of itself imported; neither
    happens to this process. Raises `ProbeError`.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code],
            capture_output=True,
            text=True,
            check=False,
            timeout=PROBE_SECONDS,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired:
        raise ProbeError(f"no answer within {PROBE_SECONDS} seconds") from None
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    last = lines[-1].strip() if lines else ""
    if done.returncode:
        raise ProbeError(last or f"Python ended with {done.returncode}")
    return last
