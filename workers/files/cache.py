"""The folder for what takes long to make or fetch and can be made or fetched again."""

import os
from pathlib import Path

from platformdirs import user_cache_dir

VARIABLE = "SWEEPS_CACHE"
"""Environment variable that names another folder."""


def folder() -> Path:
    """Return the cache folder of this user; it may not be there yet."""
    return Path(os.environ.get(VARIABLE) or user_cache_dir("caption-sweeps")).expanduser()


def make(folder: Path) -> None:
    """Make a folder of the cache, or of another place that was chosen for its files.

    Nobody else may enter the cache in its usual place: images and bases that are not public lie
    there. One that `VARIABLE` names may be shared, and is as the umask says. Raises OSError, with
    what to do, when it cannot be made or written.
    """
    usual = Path(user_cache_dir("caption-sweeps"))
    try:
        if folder.is_relative_to(usual):
            usual.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise OSError(f"{folder} cannot be written; set {VARIABLE} to a folder that can")
