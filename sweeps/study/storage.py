"""Storage of a sweep's study: a journal file beside the results, or a database of a team.

Each line of a journal is one step of the study. A crash can truncate the last line. Optuna ignores
such a line, but writes its next one right behind it, and cannot read the file from then on.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.results.folder import SweepFolder
from sweeps.spec.storage import expanded

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

_CREATES_TRIAL = '"op_code":4'


def open_storage(address: str | None, folder: SweepFolder) -> "BaseStorage":
    """Return Optuna's storage; raises ValueError for one that cannot be opened."""
    if (file := _journal_file(address, folder)) is not None:
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        _check_journal(file)
        return JournalStorage(JournalFileBackend(str(file)))
    assert address is not None
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return RDBStorage(expanded(address))
    except ImportError as error:
        reason = f"{error}; install the database's package for Python".replace("\n", " ")
    except SQLAlchemyError as error:
        reason = type(error).__name__  # its text may hold the address with the password
    raise ValueError(f"search.storage: {address} cannot be opened: {reason}")


def repair_storage(address: str | None, folder: SweepFolder) -> None:
    """Remove a truncated last line of a journal: its writer never learned that it was kept.

    Only for the process that writes the study.
    """
    file = _journal_file(address, folder)
    if file is None or not file.is_file() or _whole_bytes(file) == file.stat().st_size:
        return
    from optuna.storages.journal import JournalFileSymlinkLock

    lock = JournalFileSymlinkLock(str(file))
    lock.acquire()
    try:
        with file.open("r+b") as opened:
            opened.truncate(_whole_bytes(file))
    finally:
        lock.release()


def _journal_file(address: str | None, folder: SweepFolder) -> Path | None:
    """Return the journal file of a study; None for one in a database."""
    if address is None:
        return folder.study
    return None if "://" in address else Path(address).expanduser()


def _check_journal(file: Path) -> None:
    """Raise ValueError, naming the line and the fix, for a file damaged before its last line."""
    lines = file.read_bytes().splitlines(keepends=True) if file.is_file() else []
    for number, line in enumerate(lines[:-1], start=1):
        if _parses(line):
            continue
        second = line.rfind(b'{"op_code"')
        if second > 0 and _parses(line[second:]):
            fix = f"delete its first {second} characters, a line that was truncated before this one"
        elif _CREATES_TRIAL in line.decode(errors="replace") or not line.startswith(b'{"op_code"'):
            fix = "restore a copy of the file: without the line later trials would be mixed up"
        else:
            fix = f"delete it (sed -i {number}d): it is one value of one trial"
        raise ValueError(f"{file}:{number}: the line is damaged; {fix}")


def _whole_bytes(file: Path) -> int:
    """Return the number of bytes before a truncated last line."""
    lines = file.read_bytes().splitlines(keepends=True)
    truncated = lines and not (lines[-1].endswith(b"\n") and _parses(lines[-1]))
    return sum(map(len, lines[:-1] if truncated else lines))


def _parses(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
