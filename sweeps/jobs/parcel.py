"""What is sent with a job: one zip with the complete sweep file and the local files it reads.

The zip is there for as long as it takes to send it, and nobody but its owner can read it.
"""

import hashlib
import os
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sweeps.jobs.outgoing import Outgoing, contents
from sweeps.spec.load import dump
from sweeps.spec.sweep import Sweep
from workers.files import cache

SPEC, INPUTS = "sweep.yaml", "inputs"
"""Names in the zip: the sweep file, and the folder of all else."""
MIB = 1024 * 1024
MOST_BYTES = 90 * MIB
"""Most that is sent; Ray refuses packages of 100 MiB."""
LEFT_SECONDS = 3600.0
"""So old a zip is left from a command that was killed."""
_BORN = (1980, 1, 1, 0, 0, 0)  # the oldest date of the format: equal contents are equal zips
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """Everything that a job needs of this machine."""

    text: str
    """The sweep file with every default and override."""
    files: Mapping[str, bytes]
    """Name below `INPUTS` -> contents; sorted."""
    inputs: str
    """Digest of the names and contents of the files: the same data, the same digest."""

    @property
    def digest(self) -> str:
        """Tells one parcel from another."""
        return hashlib.sha256(f"{self.inputs}\n{self.text}".encode()).hexdigest()[:16]


def parcel(sweep: Sweep, sent: Outgoing) -> Parcel:
    """Read what a sweep sends.

    Raises ValueError when that is too much, and as `sweeps.jobs.outgoing.contents` does.
    """
    _refuse_heavy(sent)
    files = {file.name: contents(file, sent.ignored) for file in sent.files}
    return Parcel(text=dump(sweep), files=files, inputs=_digest(files))


@contextmanager
def archived(parcel: Parcel, keep: Path | None = None) -> Iterator[Path]:
    """Return the zip of a parcel, removed afterwards unless it is to `keep`.

    Only its owner can read it. Raises OSError when it cannot be written.
    """
    folder = _private_folder() if keep is None else keep.parent
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=".", suffix=".zip")
    file = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            _write(parcel, stream)
        if keep is not None:
            file = file.replace(keep)
        yield file
    finally:
        Path(name).unlink(missing_ok=True)


def _private_folder() -> Path:
    """Return the folder of zips in the cache, without what killed commands have left there."""
    folder = cache.folder() / "parcels"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)  # an earlier version has made it for everybody
    for file in folder.iterdir():
        with suppress(FileNotFoundError):  # another command has removed it
            if time.time() - file.stat().st_mtime > LEFT_SECONDS:
                file.unlink()
    return folder


def _write(parcel: Parcel, stream: BinaryIO) -> None:
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_entry(SPEC), parcel.text)
        for name, content in parcel.files.items():
            archive.writestr(_entry(f"{INPUTS}/{name}"), content)


def _entry(name: str) -> zipfile.ZipInfo:
    """Return an entry that only the owner can read, also where Ray unpacks it."""
    entry = zipfile.ZipInfo(name, _BORN)
    entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o600 << 16
    return entry


def _refuse_heavy(sent: Outgoing) -> None:
    if sent.size <= MOST_BYTES:
        return
    named = ", ".join(f"{file.name} ({file.size / MIB:.1f} MiB)" for file in sent.largest(_SHOWN))
    raise ValueError(
        f"the sweep would send {sent.size / MIB:.0f} MiB in {len(sent.files)} files, and must send "
        f"at most {MOST_BYTES / MIB:.0f} MiB, for Ray keeps it in the head's memory; the largest: "
        f"{named}. Put the data on storage that all nodes see and name its absolute path"
    )


def _digest(files: Mapping[str, bytes]) -> str:
    """Return a digest of names and contents."""
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]
