"""Lines of a text file that people and spreadsheets write."""

from pathlib import Path

from workers.data.problems import DataError


def read_lines(path: Path) -> tuple[list[str], list[str]]:
    """Return the lines of a UTF-8 file, and a problem for each line that is not UTF-8.

    A byte order mark is dropped, and all of LF, CRLF and CR end a line. A line that is not
    UTF-8 is returned empty, so that line numbers stay true.

    Raises `DataError` when the file cannot be read or is not even 8-bit text (UTF-16).
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if b"\0" in content:
        raise DataError(f"{path}: must be UTF-8 text, this looks like UTF-16; save it as UTF-8")
    decoded = [_decode(line) for line in content.removeprefix(b"\xef\xbb\xbf").splitlines()]
    problems = [
        f"{path.name} line {number}: not UTF-8 text; save the file as UTF-8"
        for number, line in enumerate(decoded, 1)
        if line is None
    ]
    return [line or "" for line in decoded], problems


def _decode(line: bytes) -> str | None:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return None
