"""The folder for what takes long to make or fetch and can be made or fetched again."""

import os
from pathlib import Path

from platformdirs import user_cache_dir

VARIABLE = "SWEEPS_CACHE"
"""Environment variable that names another folder."""


def folder() -> Path:
    """Return the cache folder of this user; it may not be there yet."""
    return Path(os.environ.get(VARIABLE) or user_cache_dir("caption-sweeps")).expanduser()
