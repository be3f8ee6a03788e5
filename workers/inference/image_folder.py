"""Safe reading of files that a client names, from one folder and from nowhere else."""

import errno
import os
import stat
from pathlib import Path, PurePosixPath

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a pipe must not wait for its writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_within(folder: Path, path: str, limit: int) -> bytes:
    """Return the bytes of a file of at most `limit` bytes, by its path relative to `folder`.

    Each step is opened from the one before and follows no link, so nothing outside is reached,
    also while somebody changes the folder. `folder` itself may be a link.

    Raises OSError for an absolute path, one with ``..``, links, missing files, and what is no
    plain file or larger than `limit`.
    """
    parts = PurePosixPath(path).parts
    if not parts or parts[0] == "/" or ".." in parts or "\0" in path:
        raise PermissionError(errno.EACCES, "no path within the folder")
    opened = [os.open(folder, _FOLDER & ~os.O_NOFOLLOW)]
    try:
        for part in parts[:-1]:
            opened.append(os.open(part, _FOLDER, dir_fd=opened[-1]))
        opened.append(os.open(parts[-1], _FILE, dir_fd=opened[-1]))
        if not stat.S_ISREG(os.fstat(opened[-1]).st_mode):
            raise PermissionError(errno.EACCES, "no plain file")
        with open(opened[-1], "rb", closefd=False) as file:
            content = file.read(limit + 1)
    finally:
        for descriptor in opened:
            os.close(descriptor)
    if len(content) > limit:
        raise OSError(errno.EFBIG, "too large")
    return content
