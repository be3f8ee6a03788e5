"""Agreement of machines that share an object store: which sweeps exist, and who owns each."""

import secrets
import time
from pathlib import Path

from sweeps.storage.copies import pull, push
from sweeps.storage.places import around

CLAIM_SECONDS = 1.0
"""Of two that write a file at the same moment, the last one wins; after so long it is certain."""


def names(root: Path) -> list[str]:
    """Return the names of the folders directly in `root`, which must be there."""
    copy = around(root)
    here = [path.name for path in root.iterdir() if path.is_dir()]
    return sorted({*here, *copy.storage.names(copy.key(root))} if copy else here)


def try_claim(folder: Path) -> bool:
    """Return whether a folder that was just made is ours; no other machine may have it as well."""
    copy, claim = around(folder), folder / "claim"
    if copy is None:
        return True
    if copy.storage.stamp(copy.key(claim)):
        return False
    claim.write_text(secrets.token_hex(8))
    push(claim)
    return wrote_last(claim)


def wrote_last(file: Path) -> bool:
    """Return whether no other machine wrote a file at the same moment as this one."""
    copy = around(file)
    if copy is None:
        return True
    time.sleep(CLAIM_SECONDS)
    return copy.storage.read(copy.key(file)) == file.read_bytes()


def fetch_sweep_files(root: Path) -> None:
    """Download the sweep files of all sweeps, so that they are found here."""
    copy = around(root)
    if copy is None:
        return
    copy.storage.check()
    there = copy.storage.names()
    for name in there:
        pull(root / name / "sweep.yaml")
    for spec in root.glob("*/sweep.yaml"):
        if spec.parent.name not in there:
            spec.unlink(missing_ok=True)


def time_of(path: Path) -> float:
    """Return when a file was written, by the clock of where it lives.

    Raises FileNotFoundError where there is none.
    """
    copy = around(path)
    if copy is None:
        return path.stat().st_mtime
    stamp = copy.storage.stamp(copy.key(path))
    if stamp is None:
        raise FileNotFoundError(f"{copy.storage.address} has no {copy.key(path)}")
    return stamp.time
