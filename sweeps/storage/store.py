"""An object store: files by their keys below one address. Each is there whole or not at all.

pyarrow opens the address as it does for Ray; what it does not know, fsspec opens. Credentials
come from the environment, or from the machine's role, and from nowhere else.
"""

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from workers.files.addresses import opened
from workers.files.atomic import atomic_path
from workers.redaction import redact

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, FileSystem

T = TypeVar("T")

PATIENCE_SECONDS = 60.0
"""A store that is unavailable for so long stops the sweep; its own client tries 3 times."""
_PAUSE_SECONDS = 2.0
_REFUSED = (
    *("ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "EXPIRED_TOKEN"),
    *("INVALID_CLIENT_TOKEN_ID", "HTTP status 403", "HTTP response code 403", "HTTP status 401"),
)
_LASTS = (*_REFUSED, "can open it", "NO_SUCH_BUCKET", "HTTP status 301", "INVALID_BUCKET_NAME")
_SILENT = ("NETWORK_CONNECTION", "curlCode", "REQUEST_TIMEOUT", "Could not connect", "resolve host")


class StorageError(OSError):
    """A storage cannot be used, or not now."""


class Stamp(NamedTuple):
    """Size and time of a file, as a listing has them."""

    size: int
    """Bytes."""
    time: float
    """When it was written, in seconds since 1970 by the store's clock."""


@dataclass(frozen=True)
class Storage:
    """The files below an address such as ``s3://bucket/prefix``. A plain value that travels.

    Every method raises `StorageError` for a store that cannot be used, or that was unavailable
    for longer than the patience.
    """

    address: str
    patience: float = PATIENCE_SECONDS
    """Seconds for which a call to an unavailable store is retried."""

    def check(self) -> None:
        """Raise StorageError for an address that cannot be opened, or whose bucket is missing."""

        def has_bucket(files: "FileSystem", base: str) -> bool:
            known = files.type_name in ("s3", "gcs")
            return not known or files.get_file_info(base.partition("/")[0]).type.name != "NotFound"

        if not self._attempt(has_bucket):
            raise storage_error(self.address, OSError("NO_SUCH_BUCKET"))

    def write(self, key: str, data: bytes) -> None:
        """Put a small file into the store."""

        def work(files: "FileSystem", base: str) -> None:
            with files.open_output_stream(f"{base}/{key}") as stream:
                stream.write(data)

        self._attempt(work)

    def read(self, key: str) -> bytes | None:
        """Return the content of a small file, or None where there is none."""

        def work(files: "FileSystem", base: str) -> bytes:
            with files.open_input_stream(f"{base}/{key}") as stream:
                return bytes(stream.read())

        return self._found(work)

    def put(self, file: Path, key: str) -> None:
        """Copy a file of this machine into the store."""
        from pyarrow.fs import LocalFileSystem, copy_files

        here = LocalFileSystem()
        self._attempt(lambda files, base: copy_files(str(file), f"{base}/{key}", here, files))

    def get(self, key: str, file: Path) -> bool:
        """Put a file of the store in place of `file`; return False where there is none."""
        from pyarrow.fs import LocalFileSystem, copy_files

        file.parent.mkdir(parents=True, exist_ok=True)

        def work(files: "FileSystem", base: str) -> bool:
            if not files.get_file_info(f"{base}/{key}").is_file:  # a folder would be copied, too
                return False
            with atomic_path(file) as partial:
                copy_files(f"{base}/{key}", str(partial), files, LocalFileSystem())
            return True

        return self._found(work) or False

    def stamp(self, key: str) -> Stamp | None:
        """Return size and time of a file, or None where there is none."""
        info: Any = self._attempt(lambda files, base: files.get_file_info(f"{base}/{key}"))
        return _stamp(info) if info.is_file else None

    def files(self, key: str = "") -> dict[str, Stamp]:
        """Return all files below a folder, by their keys from there."""
        infos = self._listed(key, recursive=True)
        return {name: _stamp(info) for name, info in infos.items() if info.is_file}

    def names(self, key: str = "") -> list[str]:
        """Return the names of the folders that lie directly in a folder."""
        infos = self._listed(key, recursive=False)
        return sorted(name for name, info in infos.items() if not info.is_file)

    def delete(self, key: str) -> None:
        """Remove a file, or a folder with all below it; one that is not there is no error."""

        def work(files: "FileSystem", base: str) -> None:
            info = files.get_file_info(f"{base}/{key}")
            if info.is_file:
                files.delete_file(info.path)
            elif info.type.name == "Directory":
                files.delete_dir(info.path)

        self._found(work)

    def _listed(self, key: str, *, recursive: bool) -> "dict[str, FileInfo]":
        from pyarrow.fs import FileSelector

        def work(files: "FileSystem", base: str) -> "dict[str, FileInfo]":
            folder = f"{base}/{key}".rstrip("/")
            chosen = FileSelector(folder, recursive=recursive, allow_not_found=True)
            start = len(folder.lstrip("/")) + 1
            return {info.path.lstrip("/")[start:]: info for info in files.get_file_info(chosen)}

        return self._attempt(work)

    def _found(self, work: "Callable[[FileSystem, str], T]") -> T | None:
        try:
            return self._attempt(work)
        except FileNotFoundError:
            return None

    def _attempt(self, work: "Callable[[FileSystem, str], T]") -> T:
        """Return `work` of the file system and the path of the address in it, with retries."""
        from pyarrow import ArrowException

        deadline = time.monotonic() + self.patience
        while True:
            try:
                return work(*opened(self.address))
            except (FileNotFoundError, StorageError):
                raise
            except (OSError, ArrowException, ImportError, ValueError) as error:
                # A user must fix what lasts; other errors may be gone in a while.
                lasts = not isinstance(error, OSError) or any(s in str(error) for s in _LASTS)
                if lasts or time.monotonic() > deadline:
                    raise storage_error(self.address, error) from error
            time.sleep(_PAUSE_SECONDS)


def _stamp(info: "FileInfo") -> Stamp:
    written = info.mtime
    return Stamp(size=int(info.size), time=written.timestamp() if written else 0.0)


def storage_error(address: str, error: BaseException, field: str = "storage") -> StorageError:
    """Return the error of a store as one sentence that names the node and what to do."""
    text = str(error).strip()
    line = text.splitlines()[0] if text else "no reason was given"
    short = line.partition("AWS Error ")[2] or line  # the reason is the end of a long message
    if "NO_SUCH_BUCKET" in text:
        reason = "there is no such bucket; create it, or correct the address"
    elif any(sign in text for sign in _REFUSED):
        reason = (
            f"it was refused ({short}); credentials belong in the environment of every "
            "node, as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or as the role of the machine"
        )
    elif any(sign in text for sign in _SILENT):
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        at = f" at {endpoint} (AWS_ENDPOINT_URL)" if endpoint and "s3" in address[:3] else ""
        reason = f"nothing answers{at}; check the network and the address ({short})"
    else:
        reason = short
    node = socket.gethostname()
    return StorageError(redact(f"{field}: {node} cannot use {address}: {reason}"))
