"""Addresses of object stores such as ``s3://bucket/prefix``, opened as Ray opens them."""

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_address(place: str | None) -> bool:
    """Tell the address of an object store from the path of a folder and from a hub name."""
    return bool(place and _ADDRESS.match(place))


def hidden(address: str) -> str:
    """Return an address without the user and password that it must not have."""
    return re.sub(r"://[^/]*@", "://***@", address)


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
