"""Retention: what of a sweep stays on disk for resume and promotion, and what goes first.

Needed are the newest snapshot and the best adapter of every trial that runs, and the adapter of
the best trial. With several objectives ``disk.keep`` leaves the whole front. All else goes as soon
as it is of no use, or when a limit would be exceeded.
"""

import errno
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from sweeps.pareto import costs, fronts
from sweeps.results import best, record
from sweeps.results.folder import SweepFolder
from sweeps.spec.sweep import Search, Sweep, values_of
from sweeps.storage import copies
from sweeps.storage.store import StorageError

GB = 1e9
KEPT_SNAPSHOTS = 3
"""Snapshots of a running trial; Tune may go back by one or two after a crash of the driver."""
MARGIN_BYTES = 16e6
"""A disk with less room than this is full: libraries that write to it do not always report it."""


def retention_order(
    search: Search, bests: Mapping[str, Sequence[float]], violating: Collection[str]
) -> tuple[list[str], int]:
    """Return the trials, the winner first, and how many of the first ones must be kept.

    With a single objective that is the winner; with several it is the front, from which a person
    chooses. Those that violate a limit come last.

    Args:
        search: has the objectives.
        bests: trial -> its objectives at its best rung.
        violating: trials that violate a limit.
    """
    modes = [objective.mode for objective in search.objectives]
    able = [name for name in bests if name not in violating]
    found = fronts(costs([bests[name] for name in able], modes)) if able else [[]]
    front = {able[place] for place in found[0]}
    leading = {name: costs([bests[name]], modes)[0, 0] for name in bests}

    def key(name: str) -> tuple[bool, bool, float, str]:
        off_front = len(modes) > 1 and name not in front
        return (name in violating, off_front, leading[name], name)

    ranked = sorted(bests, key=key)
    return ranked, len(front) if len(modes) > 1 else min(1, len(ranked))


def ranked_adapters(
    sweep: Sweep, folder: SweepFolder, over: Collection[str]
) -> tuple[list[str], int]:
    """Return the trials of `over` that have a best adapter, see `retention_order`."""
    found = {name: best.read(folder.best_adapter(name)) for name in over}
    bests = {name: values_of(sweep, kept.metrics) for name, kept in found.items() if kept}
    violating = {name for name in bests if any(r.violates for r in record.read(folder, name)[-1:])}
    return retention_order(sweep.search, bests, violating)


def kept_adapters(sweep: Sweep, ranked: Sequence[str], needed: int) -> frozenset[str]:
    """Return the trials of `ranked` whose adapters stay; the first `needed` ones always do."""
    keep = sweep.disk.keep
    return frozenset(ranked if keep is None else ranked[: max(keep, needed)])


def prune(sweep: Sweep, folder: SweepFolder, over: frozenset[str]) -> list[str]:
    """Remove what trials that are `over` no longer need; return those whose adapters were removed.

    That is the snapshots of all of them, and the adapters of those that are not among the best.
    All other trials may be running, or be resumed after a crash.
    """
    for snapshot in folder.glob("trials/*/rung-*"):
        if snapshot.parent.name in over:
            folder.remove(snapshot)
    # A running trial takes no place of the best ones before it is over.
    ranked, needed = ranked_adapters(sweep, folder, over)
    kept = kept_adapters(sweep, ranked, needed)
    gone = [name for name in ranked if name not in kept]
    for name in gone:
        folder.remove(folder.best_adapter(name))
    return gone


def enforce_limit(sweep: Sweep, folder: SweepFolder, over: frozenset[str]) -> str | None:
    """Keep the sweep's folder within ``disk.limit_gb``: make room for one more trial.

    What neither resume nor promotion needs is removed, the least useful first; `over` are the
    trials that ended. Returns why no further trial may start; None when one may.
    """
    limit = sweep.disk.limit_gb
    if limit is None:
        return None
    trials = folder.glob("trials/*")
    used, room = size_of(folder.path), max(map(size_of, trials), default=0.0)
    droppable: list[Path] = []
    if used + room > limit * GB:
        for trial in trials:
            # The newest one may be half written.
            droppable += folder.glob(f"trials/{trial.name}/rung-*")[:-2]
        ranked, _ = ranked_adapters(sweep, folder, over)
        droppable += [folder.best_adapter(name) for name in reversed(ranked[1:])]
    for least in droppable:
        if used + room <= limit * GB:
            break
        used -= size_of(least)
        folder.remove(least)
    if used + room <= limit * GB:
        return None
    return (
        f"{folder.path} holds {format_bytes(used)} and a trial needs {format_bytes(room)}, more "
        f"than disk.limit_gb: {limit:g} leaves; no further trial starts. Resume with: "
        f"sweeps resume {folder.sweep_id} --set disk.limit_gb=MORE"
    )


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
    path = folder.absolute()
    there = next(place for place in (path, *path.parents) if place.exists())
    return float(shutil.disk_usage(there).free)


def stops(error: BaseException, folder: SweepFolder) -> str | None:
    """Return the message for a user of an error that ends the sweep for now; None for others."""
    resume = f"sweeps resume {folder.sweep_id}"
    if is_full(error, folder.path):
        return (
            f"the disk of {folder.path} is full; every rung reported so far is kept. Make room, "
            f"or keep less with disk.keep, then: {resume}"
        )
    if isinstance(error, StorageError):
        return f"{error}; every rung reported so far is kept. Once that is fixed: {resume}"
    return None
