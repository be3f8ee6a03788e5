"""Addresses of object stores such as ``s3://bucket/prefix``, opened as Ray opens them."""

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from workers.redaction import has_secret, redact

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_address(place: str | None) -> bool:
    """Tell the address of an object store from the path of a folder and from a hub name."""
    return bool(place and _ADDRESS.match(place))


def refuse_secret(name: str, address: str, instead: str) -> None:
    """Raise ValueError for an address that holds a secret, as addresses are kept and shown.

    `name` says what has this address, `instead` where the secret belongs.
    """
    if has_secret(address):
        raise ValueError(
            f"{name} must be an address without a secret, got {redact(address)}; {instead}"
        )


@lru_cache(maxsize=16)
def opened(address: str) -> "tuple[FileSystem, str]":
    """Return the file system of an address, and the path there: pyarrow's, or else fsspec's.

    Credentials come from the environment. Raises OSError for an address that neither can open.
    """
    from pyarrow import ArrowInvalid, ArrowNotImplementedError
    from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem

    try:
        files, base = FileSystem.from_uri(address)
    except (ArrowInvalid, ArrowNotImplementedError) as unknown:
        from fsspec.core import url_to_fs

        try:
            found, base = url_to_fs(address)
        except (ImportError, ValueError) as error:
            why = f"neither pyarrow ({unknown}) nor fsspec ({error}) can open it"
            raise OSError(why) from error
        files = PyFileSystem(FSSpecHandler(found))
    return files, base.rstrip("/")
