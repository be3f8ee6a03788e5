"""What a sweep reads that came along with it: below a working copy, it reaches nodes by the store.

Each such folder lies two names below the results, as ``inputs/3f2a`` or ``rehearsal-bases/git``.
"""

from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock

from sweeps.storage import copies, places
from sweeps.storage.folders import WHOLE


def share(paths: Iterable[Path]) -> None:
    """Let the driver's node and the store have the folders that these files and folders lie in."""
    for folder in _folders(paths):
        if not folder.exists():  # the sweep goes on on another machine
            copies.pull(folder)
        elif not ((folder / WHOLE).exists() and copies.holds(folder)):
            copies.push(folder)


def fetch(address: str, paths: Iterable[Path]) -> None:
    """Bring them down to another node, once for all of its processes."""
    places.working(address, places.DRIVER)
    for folder in _folders(paths):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            copies.pull(folder)


def _folders(paths: Iterable[Path]) -> set[Path]:
    found = ((places.around(path), path) for path in paths)
    return {
        copy.root.joinpath(*path.relative_to(copy.root).parts[:2]) for copy, path in found if copy
    }
