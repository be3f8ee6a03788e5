"""The lease of a sweep: a small file in its folder, kept fresh for as long as its driver lives.

On shared storage every machine can read from it who drives the sweep. No two drivers write the
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

import psutil
from filelock import FileLock

from sweeps.results.folder import SweepFolder
from sweeps.spec.problems import RefusedError
from sweeps.storage import claims

HEARTBEAT_SECONDS = 3.0
"""Interval of a driver's heartbeats."""
STALE_SECONDS = 45.0
"""A driver of another machine without a heartbeat for so long is dead."""


class DrivenError(RefusedError):
    """The sweep has a driver already."""


@dataclass(frozen=True, kw_only=True)
class Driver:
    """The process that drives a sweep."""

    host: str
    pid: int
    started: float | None
    """When its process started, in seconds since the machine did."""
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
            started=_started(os.getpid()),
            since=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %Z"),
            token=secrets.token_hex(8),
        )

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


def read(folder: SweepFolder) -> Driver | None:
    """Return who wrote the sweep's driver file, dead or alive; None when there is no such file."""
    text = folder.read(folder.driver)
    try:
        return None if text is None else Driver(**json.loads(text))
    except (ValueError, TypeError):  # cut off or of another version
        return Driver(host="unknown", pid=0, started=None, since="unknown", token="")


def living(folder: SweepFolder) -> Driver | None:
    """Return the driver of the sweep, or None when there is none or it is dead."""
    driver = read(folder)
    if driver is None:
        return None
    if driver.host == socket.gethostname():
        return driver if _started(driver.pid) == driver.started else None
    return driver if _heartbeat_age(folder) < STALE_SECONDS else None


@contextmanager
def held(folder: SweepFolder) -> Iterator[None]:
    """Be the sweep's driver for as long as the block lasts.

    Raises `DrivenError` when another one lives. Should another one take over all the same (this
    machine was asleep for long), this process is interrupted as by Ctrl-C.
    """
    lock = FileLock(folder.driver.with_suffix(".lock"), timeout=30)
    with lock:
        if (other := living(folder)) is not None:
            raise _driven(folder, other)
        own = Driver.this()
        folder.write(folder.driver, json.dumps(asdict(own), indent=1))
        if not claims.wrote_last(folder.driver):
            raise _driven(folder, read(folder))
    ended = threading.Event()
    heart = threading.Thread(target=_beat, args=(folder, own, ended), daemon=True)
    heart.start()
    try:
        yield
    finally:
        ended.set()
        heart.join()
        if folder.path.exists():  # not so when the sweep was refused before it began
            with lock:
                if read(folder) == own:
                    folder.remove(folder.driver)


def _driven(folder: SweepFolder, driver: Driver | None) -> DrivenError:
    return DrivenError(
        f"{folder.sweep_id} is being run by {driver}; see it with "
        f"`sweeps status {folder.sweep_id}`, stop it with `sweeps stop {folder.sweep_id}`"
    )


def _beat(folder: SweepFolder, own: Driver, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT_SECONDS):
        with suppress(OSError):  # a full or absent disk is for the driver to report
            if read(folder) not in (own, None):
                os.kill(os.getpid(), signal.SIGINT)
                return
            os.utime(folder.driver)
            folder.push(folder.driver)


def _heartbeat_age(folder: SweepFolder) -> float:
    """Return the seconds since the last heartbeat, by the clock of the storage itself."""
    probe = folder.path / f".clock-{secrets.token_hex(4)}"
    try:
        probe.touch()
        folder.push(probe)
        return claims.time_of(probe) - claims.time_of(folder.driver)
    except FileNotFoundError:  # it ended meanwhile
        return STALE_SECONDS
    finally:
        folder.remove(probe)


def _started(pid: int) -> float | None:
    """Return the seconds from the start of the machine to that of a process; None when it is dead.

    They tell a process from a later one with its id, and stay the same when the clock is set.
    """
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:
            since_boot: float = process.create_time() - psutil.boot_time()
            return round(since_boot, 2)
    return None
