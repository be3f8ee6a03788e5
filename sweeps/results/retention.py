"""What of a sweep stays on disk: what resume and promotion need, then what is most useful.

Needed are the newest snapshot and the best adapter of every trial that runs, and the adapter of
the best trial. With several objectives ``disk.keep`` leaves the whole front. All else goes as soon
as it is of no use, or when a limit would be exceeded.
"""

import errno
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from sweeps.results import best, record
from sweeps.results.folder import SweepFolder
from sweeps.results.worth import by_worth
from sweeps.spec.sweep import Sweep, values_of
from sweeps.storage import copies
from sweeps.storage.store import StorageError

GB = 1e9
KEPT_SNAPSHOTS = 3
"""Snapshots of a running trial; Tune may go back by one or two after a crash of the driver."""
MARGIN_BYTES = 16e6
"""A disk with less room than this is full: libraries that write to it do not always say so."""


def ranked_adapters(
    sweep: Sweep, folder: SweepFolder, over: Collection[str]
) -> tuple[list[str], int]:
    """Return those of the trials `over` that have a best adapter, see `sweeps.results.worth`."""
    found = {name: best.read(folder.best_adapter(name)) for name in over}
    bests = {name: values_of(sweep, kept.metrics) for name, kept in found.items() if kept}
    violating = {name for name in bests if record.violates(record.read(folder, name))}
    return by_worth(sweep.search, bests, violating)


def kept_adapters(sweep: Sweep, ranked: Sequence[str], needed: int) -> frozenset[str]:
    """Return the trials of `ranked` whose adapters stay after their end.

    The first `needed` ones do in any case.
    """
    keep = sweep.disk.keep
    return frozenset(ranked if keep is None else ranked[: max(keep, needed)])


def tidy(sweep: Sweep, folder: SweepFolder, over: frozenset[str]) -> list[str]:
    """Remove what trials that are `over` need no more; return whose adapters went.

    Snapshots of all of them, and the adapters of those that are not among the best. All other
    trials may run, or wait to be gone on with after a crash.
    """
    for snapshot in folder.glob("trials/*/rung-*"):
        if snapshot.parent.name in over:
            folder.remove(snapshot)
    # A running trial takes no place of the best ones before it is over.
    ranked, needed = ranked_adapters(sweep, folder, over)
    gone = [name for name in ranked if name not in kept_adapters(sweep, ranked, needed)]
    for name in gone:
        folder.remove(folder.best_adapter(name))
    return gone


class Limit:
    """Keeps a sweep's folder within ``disk.limit_gb``."""

    def __init__(self, sweep: Sweep, folder: SweepFolder) -> None:
        self._sweep, self._folder = sweep, folder

    def enforce(self, over: frozenset[str]) -> str | None:
        """Remove the least useful until there is room for one more trial; `over` are the ended.

        Returns why no further trial may start; None when one may.
        """
        limit = self._sweep.disk.limit_gb
        if limit is None:
            return None
        used, room = size_of(self._folder.path), self._one_trial()
        for least in self._droppable(over):
            if used + room <= limit * GB:
                return None
            used -= size_of(least)
            self._folder.remove(least)
        if used + room <= limit * GB:
            return None
        return (
            f"{self._folder.path} holds {format_bytes(used)} and a trial needs "
            f"{format_bytes(room)}, more than disk.limit_gb: {limit:g} leaves; no further trial "
            "starts. Go on with: "
            f"sweeps resume {self._folder.sweep_id} --set disk.limit_gb=MORE"
        )

    def _one_trial(self) -> float:
        """Return what the largest trial so far has on disk."""
        return max(map(size_of, self._folder.glob("trials/*")), default=0.0)

    def _droppable(self, over: frozenset[str]) -> Iterator[Path]:
        """Yield what may go, the least useful first; neither resume nor promotion needs it."""
        for trial in self._folder.glob("trials/*"):
            snapshots = self._folder.glob(f"trials/{trial.name}/rung-*")
            yield from snapshots[:-2]  # the newest one may be half written
        ranked, _ = ranked_adapters(self._sweep, self._folder, over)
        for name in reversed(ranked[1:]):
            yield self._folder.best_adapter(name)


def size_of(folder: Path) -> float:
    """Return the bytes of all files below a folder; files may vanish meanwhile."""
    stored = copies.size(folder)
    if stored is not None:
        return stored
    total = 0.0
    for place, _, files in os.walk(folder):
        for file in files:
            try:
                total += os.lstat(os.path.join(place, file)).st_size
            except OSError:
                continue
    return total


def format_bytes(count: float) -> str:
    """Return a number of bytes with its unit, such as ``1.5 GB``."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def is_full(error: BaseException, folder: Path) -> bool:
    """Tell whether `error`, or what caused it, comes from a full disk."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(cause) or "disk is full" in str(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    # torch says "unexpected pos" when a file cannot be written to its end.
    return isinstance(error, (OSError, RuntimeError)) and free(folder) < MARGIN_BYTES


def free(folder: Path) -> float:
    """Return the bytes that may be written below a folder, which need not be there yet."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents)
                 if place.exists())  # fmt: skip
    return float(shutil.disk_usage(there).free)


def stops(error: BaseException, folder: SweepFolder) -> str | None:
    """Return what a person is told of an error that ends the sweep for now; None for others."""
    if is_full(error, folder.path):
        return full_message(folder)
    if isinstance(error, StorageError):
        return (
            f"{error}; every rung reported so far is kept. Once that is fixed: "
            f"sweeps resume {folder.sweep_id}"
        )
    return None


def full_message(folder: SweepFolder) -> str:
    """Return what a person is told when the disk is full."""
    return (
        f"the disk of {folder.path} is full; every rung reported so far is kept. Make room, or "
        f"keep less with disk.keep, then: sweeps resume {folder.sweep_id}"
    )
