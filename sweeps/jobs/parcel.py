"""What is sent with a job: one zip with the complete sweep file and the local files it reads.

The zip exists for as long as it takes to send it, and only its owner can read it. On the cluster
its files move to the results.
"""

import hashlib
import os
import shutil
import socket
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sweeps.jobs.inputs import expected
from sweeps.jobs.outgoing import Outgoing, contents
from sweeps.spec.load import dump
from sweeps.spec.sweep import Sweep
from sweeps.storage import places
from workers.files import cache
from workers.files.atomic import atomic_path

SPEC, INPUTS = "sweep.yaml", "inputs"
"""Names in the zip: the sweep file, and the folder of all else."""
MIB = 1024 * 1024
MOST_BYTES = 90 * MIB
"""Most that is sent; Ray refuses packages of 100 MiB."""
LEFT_SECONDS = 3600.0
"""A zip that is this old was left by a command that was killed."""
KEPT_SECONDS = 24 * 3600.0
"""So long the files stay among the results after their last use by a sweep."""
_OLDEST = (1980, 1, 1, 0, 0, 0)  # the oldest date of the format: equal contents are equal zips
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
        """Distinguishes parcels."""
        return hashlib.sha256(f"{self.inputs}\n{self.text}".encode()).hexdigest()[:16]


def pack(sweep: Sweep, sent: Outgoing) -> Parcel:
    """Read what a sweep sends.

    Raises ValueError when that is too much, and as `sweeps.jobs.outgoing.contents` does.
    """
    if sent.size > MOST_BYTES:
        largest = [f"{file.name} ({file.size / MIB:.1f} MiB)" for file in sent.largest(_SHOWN)]
        raise ValueError(
            f"the sweep would send {sent.size / MIB:.0f} MiB in {len(sent.files)} files, and must "
            f"send at most {MOST_BYTES / MIB:.0f} MiB, for Ray keeps it in the head's memory; the "
            f"largest: {', '.join(largest)}. Put the data on storage that all nodes see and name "
            "its absolute path"
        )
    files = {file.name: contents(file, sent.ignored) for file in sent.files}
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return Parcel(text=dump(sweep), files=files, inputs=digest.hexdigest()[:16])


@contextmanager
def archived(parcel: Parcel, keep: Path | None = None) -> Iterator[Path]:
    """Return the zip of a parcel, removed afterwards unless it is to `keep`.

    Only its owner can read it. Raises OSError when it cannot be written.
    """
    folder = _private_folder() if keep is None else keep.parent
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=".", suffix=".zip")
    file = Path(name)
    entries = {SPEC: parcel.text.encode()}
    entries |= {f"{INPUTS}/{path}": content for path, content in parcel.files.items()}
    try:
        with os.fdopen(descriptor, "wb") as stream, zipfile.ZipFile(stream, "w") as archive:
            for path, content in entries.items():
                entry = zipfile.ZipInfo(path, _OLDEST)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o600 << 16  # for its owner, also where Ray unpacks it
                archive.writestr(entry, content)
        if keep is not None:
            file = file.replace(keep)
        yield file
    finally:
        Path(name).unlink(missing_ok=True)


def _private_folder() -> Path:
    """Return the folder of zips in the cache, without what killed commands have left there."""
    folder = cache.folder() / "parcels"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)  # an earlier version made it readable for all
    for file in folder.iterdir():
        with suppress(FileNotFoundError):  # another command has removed it
            if time.time() - file.stat().st_mtime > LEFT_SECONDS:
                file.unlink()
    return folder


def store_inputs(source: Path, results: Path, digest: str) -> Path:
    """Return the folder of the sweep's files among the results, put there unless it is there."""
    target = results / INPUTS / digest
    if not target.exists():
        # The folder of all inputs is for its owner, and for a group that may write the results:
        # nodes read it as the user who writes there. One that is there keeps its mode.
        results.mkdir(parents=True, exist_ok=True)
        group = results.stat().st_mode & 0o070
        target.parent.mkdir(mode=0o700 | (group if group & 0o020 else 0), exist_ok=True)
        with atomic_path(target) as partial:
            partial.mkdir()
            if source.exists():  # by contents alone: what Ray unpacked is its owner's, all of it
                shutil.copytree(source, partial, dirs_exist_ok=True, copy_function=shutil.copyfile)
    target.touch()  # used: `prune_inputs` leaves it alone until its sweep is there
    return target


def prune_inputs(results: Path) -> None:
    """Remove the files of sweeps that are gone from the results, a day after their last use.

    In an object store they stay: drivers on other machines may use them, too.
    """
    if places.around(results):
        return
    specs = [file.read_text(encoding="utf-8") for file in results.glob("*/sweep.yaml")]
    for folder in (results / INPUTS).iterdir():
        old = time.time() - folder.stat().st_mtime > KEPT_SECONDS
        named = any(f"{INPUTS}/{folder.name}" in text for text in specs)
        if old and not named and any(folder.iterdir()):  # an empty one may be where a driver works
            shutil.rmtree(folder, ignore_errors=True)


def refuse_absent(sweep: Sweep) -> None:
    """Raise ValueError for paths of the cluster in the sweep file that do not exist here."""
    here = socket.gethostname()
    absent = [
        f"{field}: {path} must be on every node of the cluster, and is not on {here} "
        "(a relative path is sent from where you submit)"
        for field, path in expected(sweep)
        if not Path(path).exists()
    ]
    if absent:
        raise ValueError("; ".join(absent))
