"""Who drives a sweep: a small file in its folder, kept fresh for as long as the driver lives.

On shared storage it tells every machine whether a sweep has a driver. No two drivers write the
study, the records and the runs of one sweep at a time.
"""

import json
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from sweeps.results.folder import SweepFolder
from sweeps.spec.problems import RefusedError
from sweeps.storage import claims, copies

BEAT_SECONDS = 3.0
"""A driver says so often that it lives."""
STALE_SECONDS = 45.0
"""A driver of another machine that was silent for so long is dead."""


class DrivenError(RefusedError):
    """The sweep has a driver already."""


@dataclass(frozen=True, kw_only=True)
class Driver:
    """The process that drives a sweep."""

    host: str
    pid: int
    born: str
    """Tells the process from a later one with its id."""
    since: str
    """When it began, such as ``2026-03-01 14:05:12``."""
    token: str
    """Tells this driver from all others."""

    @classmethod
    def this(cls) -> "Driver":
        """Return this process as a driver that begins now."""
        return cls(
            host=socket.gethostname(),
            pid=os.getpid(),
            born=_born(os.getpid()) or "",
            since=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %Z"),
            token=secrets.token_hex(8),
        )

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


def read(folder: SweepFolder) -> Driver | None:
    """Return who wrote the sweep's driver file, dead or alive; None when there is no such file."""
    copies.pull(folder.driver)
    try:
        return Driver(**json.loads(folder.driver.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):  # cut off or of another version: nobody we could name
        return Driver(host="unknown", pid=0, born="", since="unknown", token="")


def living(folder: SweepFolder) -> Driver | None:
    """Return the driver of the sweep, or None when there is none or it is dead."""
    driver = read(folder)
    return driver if driver is not None and _lives(driver, folder) else None


@contextmanager
def held(folder: SweepFolder) -> Iterator[None]:
    """Be the sweep's driver for as long as the block lasts.

    Raises `DrivenError` when another one lives. Should another one take over all the same (this
    machine was asleep for long), this process is interrupted as by Ctrl-C.
    """
    own = _take(folder)
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(folder, own, ended), daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()
        if folder.path.exists():  # not so when the sweep was refused before it began
            with _locked(folder):
                if read(folder) == own:
                    copies.drop(folder.driver)


def _take(folder: SweepFolder) -> Driver:
    with _locked(folder):
        other = living(folder)
        if other is not None:
            raise _driven(folder, other)
        own = Driver.this()
        write_json(folder.driver, asdict(own))
        copies.push(folder.driver)
        if not claims.is_last(folder.driver):
            raise _driven(folder, read(folder))
        return own


def _driven(folder: SweepFolder, driver: Driver | None) -> DrivenError:
    return DrivenError(
        f"{folder.sweep_id} is being run by {driver}; see it with "
        f"`sweeps status {folder.sweep_id}`, stop it with `sweeps stop {folder.sweep_id}`"
    )


def _beat(folder: SweepFolder, own: Driver, ended: threading.Event) -> None:
    while not ended.wait(BEAT_SECONDS):
        with suppress(OSError):  # a full or absent disk is for the driver to report
            if read(folder) not in (own, None):
                os.kill(os.getpid(), signal.SIGINT)
                return
            os.utime(folder.driver)
            copies.push(folder.driver)


def _lives(driver: Driver, folder: SweepFolder) -> bool:
    if driver.host == socket.gethostname():
        return _born(driver.pid) == (driver.born or None)
    return _silence(folder) < STALE_SECONDS


def _silence(folder: SweepFolder) -> float:
    """Return the seconds since the last sign of life, by the clock of the storage itself."""
    probe = folder.path / f".clock-{secrets.token_hex(4)}"
    try:
        probe.touch()
        copies.push(probe)
        return claims.time_of(probe) - claims.time_of(folder.driver)
    except FileNotFoundError:  # it ended meanwhile
        return STALE_SECONDS
    finally:
        copies.drop(probe)


def _born(pid: int) -> str | None:
    """Return what tells a process from another one with the same id; None when it is dead."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.parent.parent.joinpath("self").exists():  # no Linux
        return _answers(pid)
    try:
        fields = stat.read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _answers(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return "alive" if isinstance(error, PermissionError) else None
    return "alive"


def _locked(folder: SweepFolder) -> FileLock:
    return FileLock(folder.driver.with_suffix(".lock"), timeout=30)


def write_json(file: Path, values: Any) -> None:
    """Write a file of JSON whole, or not at all; raises OSError, also for a full disk."""
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    file.parent.mkdir(parents=True, exist_ok=True)
    partial.write_text(json.dumps(values, indent=1))
    partial.replace(file)
