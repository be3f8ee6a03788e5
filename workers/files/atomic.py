"""Atomic writes: files and folders that are complete or absent at any moment, crashes included."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def atomic_write(file: Path, content: str | bytes, mode: int = 0o666) -> None:
    """Replace `file` by one with this content, once that is on the disk itself.

    Text is written in UTF-8 with its line ends as they are; the umask limits `mode`. Raises
    OSError, also for a full disk; what was there before then stays.
    """
    data = content.encode() if isinstance(content, str) else content
    with atomic_path(file) as partial:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(descriptor)


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a path beside `target`; what the block writes there becomes `target` at its end.

    A file replaces the one that is there; a folder that is there, of another process that was
    faster, stays. What a block that raises has written is removed.
    """
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        yield partial
        try:
            partial.replace(target)
        except OSError:
            if not (partial.is_dir() and target.is_dir()):
                raise
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)
