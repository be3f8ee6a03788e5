"""What a check of this machine found, and a look into packages from a fresh Python."""

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Literal

PROBE_SECONDS = 120
"""A first import of torch from a cold network disk takes most of a minute."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    state: Literal["ok", "note", "broken"]
    """A sweep runs well with ok, perhaps otherwise than meant with note; broken stops it."""
    text: str
    mend: str = ""
    """What to do; empty when there is nothing to do."""


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
            capture_output=True, text=True, check=False, timeout=PROBE_SECONDS,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ProbeError(f"no answer within {PROBE_SECONDS} seconds") from None
    if done.returncode:
        raise ProbeError(_last_line(done.stderr) or f"Python ended with {done.returncode}")
    return _last_line(done.stdout)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""
