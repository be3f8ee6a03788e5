"""Files of tensors in the cache that the processes of one machine share."""

import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from workers.files import cache
from workers.files.atomic import atomic_path

_HEADER = 512
"""Bytes that a file has beside its tensors, at most."""
_LOOK = 256
"""Files that a process writes before it looks what others have written meanwhile."""


class TensorFiles:
    """Files of tensors under `folder`; all such folders beside it share one limit in bytes.

    Several processes may use it at once: a file is there as a whole or not at all. Beyond the
    limit, which is lower where less than twice as much is free, those not used for longest are
    removed, but none that was used since this process began. Tensors that are read are mapped into
    memory: processes of one machine share them.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._most = self._limit = limit
        # The clock of files ticks coarser than this one.
        self._began = time.time() - 0.1
        self._used: int | None = None
        """Bytes of all files, as far as this process knows."""
        self._written = 0
        """Files of this process since it last looked at those of others."""
        self._full = limit == 0

    def __contains__(self, key: str) -> bool:
        return self._path(key).exists()

    def get(self, key: str) -> dict[str, torch.Tensor] | None:
        """Return the tensors under `key`; None where there are none or they cannot be read."""
        path = self._path(key)
        try:
            tensors: dict[str, torch.Tensor] = load_file(path)
            os.utime(path)
        except (OSError, SafetensorError):
            return None
        return tensors

    def put(self, key: str, tensors: Mapping[str, torch.Tensor]) -> bool:
        """Write tensors under `key`; return whether they are there, which a full disk prevents."""
        size = size_of(tensors) + _HEADER
        if self._full:
            return False
        try:
            cache.make(self._folder)
            self._written = (self._written + 1) % _LOOK
            if self._used is None or not self._written or self._used + size > self._limit:
                self._used = self._prune(size)
            self._full = self._used + size > self._limit
            if not self._full:
                self._used += size
                with atomic_path(self._path(key)) as beside:
                    save_file({name: own.contiguous() for name, own in tensors.items()}, beside)
        except (OSError, SafetensorError):  # the disk itself is full, or cannot be written
            self._full = True
        return not self._full

    def _prune(self, size: int) -> int:
        """Remove the oldest files until a tenth of the limit is free; return what is still used."""
        found = []
        for path in self._folder.parent.glob("*/*"):
            with suppress(FileNotFoundError):  # another process prunes, too
                stat = path.stat()
                found.append((stat.st_mtime, stat.st_size, path))
        used = sum(taken for _, taken, _ in found)
        free = shutil.disk_usage(self._folder).free
        self._limit = min(self._most, used + free // 2)
        if used + size > self._limit:
            for last_used, taken, path in sorted(found):
                if last_used >= self._began or used + size <= 0.9 * self._limit:
                    break
                path.unlink(missing_ok=True)
                used -= taken
        return used

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.safetensors"


def size_of(tensors: Mapping[str, torch.Tensor]) -> int:
    """Return the bytes of the tensors."""
    return sum(tensor.nbytes for tensor in tensors.values())
