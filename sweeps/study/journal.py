"""Optuna's journal file after a crash: what is cut off is taken away, what is damaged is named.

Each line is one step of the study. Optuna leaves a cut-off last line out, but writes its next
line right behind it, and cannot read the file from then on.
"""

import json
from pathlib import Path

_CREATES_TRIAL = '"op_code":4'


def heal(file: Path) -> None:
    """Take the last line away if it was cut off: whoever wrote it never heard that it is kept."""
    from optuna.storages.journal import JournalFileSymlinkLock

    if not file.is_file() or _whole(file) == file.stat().st_size:
        return
    lock = JournalFileSymlinkLock(str(file))
    lock.acquire()
    try:
        with file.open("r+b") as opened:
            opened.truncate(_whole(file))
    finally:
        lock.release()


def check(file: Path) -> None:
    """Raise ValueError, naming the line and how to fix it, for a file damaged in its middle."""
    if not file.is_file():
        return
    lines = file.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines[:-1], start=1):
        if not _parses(line):
            raise ValueError(f"{file}:{number}: the line is damaged; {_advice(number, line)}")


def _whole(file: Path) -> int:
    """Return the bytes of a file up to a last line that was cut off."""
    lines = file.read_bytes().splitlines(keepends=True)
    cut = lines and not (lines[-1].endswith(b"\n") and _parses(lines[-1]))
    return sum(map(len, lines[:-1] if cut else lines))


def _parses(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _advice(number: int, line: bytes) -> str:
    second = line.rfind(b'{"op_code"')
    if second > 0 and _parses(line[second:]):
        return f"delete its first {second} characters, a line that was cut off before this one"
    if _CREATES_TRIAL in line.decode(errors="replace") or not line.startswith(b'{"op_code"'):
        return "put a copy of the file back: without the line later trials would be mixed up"
    return f"delete it (sed -i {number}d): it is one value of one trial"
