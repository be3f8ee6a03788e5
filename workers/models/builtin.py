"""Built-in base models: built on first use, cached, then loaded like any saved checkpoint.

Importing this module needs no torch, so a sweep can be planned without it.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from filelock import FileLock

from workers.files import cache


@dataclass(frozen=True, kw_only=True)
class TinyBase:
    """Properties of a built-in base that are known before it is built."""

    builder: str
    """Module with ``build(folder, progress)``, imported only to build."""
    version: int
    """Raise it with every change of the builder, its data or its vocabulary: it is part of the
    folder's name, so bases of older builders are not used again."""
    parameters: int
    bytes: int
    """Size of the saved weights."""


BASES = {
    "tiny:shapes": TinyBase(
        builder="workers.tiny.pretraining", version=1, parameters=181_703, bytes=736_356
    )
}
"""Name in ``model.base`` -> built-in base."""


def is_cached(name: str) -> bool:
    """Tell whether `base_folder` would return at once; raises ValueError as it does."""
    return _is_complete(_folder(name))


def base_folder(name: str, progress: Callable[[str], None] | None = None) -> Path:
    """Return the folder of a built-in base, building it if it is not cached.

    Any number of processes may call this at once: one builds, the others wait for it. `progress`
    is called with lines of text while building. Raises ValueError when there is no base of this
    name, and OSError when the cache folder cannot be written.
    """
    folder = _folder(name)
    if _is_complete(folder):
        return folder
    cache.make(folder.parent)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not _is_complete(folder):
            partial = folder.with_name(f"{folder.name}.partial")
            for leftover in (partial, folder):  # of a build that was killed, of a damaged cache
                shutil.rmtree(leftover, ignore_errors=True)
            partial.mkdir()
            report = progress or (lambda line: None)
            report(f"building the base {name}: once, about half a minute, kept in {folder}")
            import_module(BASES[name].builder).build(partial, report)
            os.replace(partial, folder)
    return folder


def _folder(name: str) -> Path:
    if name not in BASES:
        raise ValueError(f"model.base: built-in are {', '.join(sorted(BASES))}; got {name!r}")
    return cache.folder() / f"{name.replace(':', '-')}-v{BASES[name].version}"


def _is_complete(folder: Path) -> bool:
    files = ("config.json", "model.safetensors", "processor_config.json")
    return all((folder / file).is_file() for file in files)
