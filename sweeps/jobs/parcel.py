"""What is sent with a job: one zip with the complete sweep file and the local files it reads.

The zip lies in the cache under a digest of its contents: the same sweep is packed once, and the
command that was printed finds it for a week.
"""

import hashlib
import os
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sweeps.jobs.ignoring import OWN, Ignored
from sweeps.jobs.inputs import Input, sent
from sweeps.spec import dump
from sweeps.sweep import Sweep
from workers import cache

SPEC, INPUTS = "sweep.yaml", "inputs"
"""Names in the zip: the sweep file, and the folder of all else."""
MIB = 1024 * 1024
MOST_BYTES = 90 * MIB
"""Most that is sent; Ray refuses packages of 100 MiB."""
KEPT_SECONDS = 7 * 24 * 3600.0
"""So long after its last use a zip can still be sent by the command that was printed."""
_BORN = (1980, 1, 1, 0, 0, 0)  # the oldest date of the format: equal contents are equal zips
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """Everything that a job needs of this machine."""

    text: str
    """The sweep file with every default and override."""
    files: Mapping[str, Path]
    """Name below `INPUTS` -> file of this machine; sorted."""
    inputs: str
    """Digest of the names and contents of the files: the same data, the same digest."""

    @property
    def digest(self) -> str:
        """Tells one parcel from another."""
        return hashlib.sha256(f"{self.inputs}\n{self.text}".encode()).hexdigest()[:16]


def parcel(sweep: Sweep, folder: Path) -> Parcel:
    """Gather what a sweep takes along from its working folder.

    Raises ValueError when that is too much, or when a rule leaves out what the file names.
    """
    ignored = Ignored.of(folder)
    files: dict[str, Path] = {}
    for one in sent(sweep, folder):
        _refuse_ignored(one, folder, ignored)
        files |= {str(file.relative_to(folder)): file for file in _files(one, folder, ignored)}
    _refuse_heavy(files)
    files = dict(sorted(files.items()))
    return Parcel(text=dump(sweep), files=files, inputs=_digest(files))


def packed(parcel: Parcel) -> Path:
    """Return the zip of a parcel, made unless it is there."""
    file = cache.folder() / "parcels" / f"{parcel.digest}.zip"
    file.parent.mkdir(parents=True, exist_ok=True)
    _prune(file.parent)
    if file.exists():
        file.touch()
    else:
        partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
        _write(parcel, partial)
        partial.replace(file)
    return file


def _prune(folder: Path) -> None:
    """Remove the parcels that nobody has sent for long, and what was left of broken ones."""
    for file in folder.iterdir():
        if time.time() - file.stat().st_mtime > KEPT_SECONDS:
            file.unlink(missing_ok=True)


def _write(parcel: Parcel, file: Path) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_entry(SPEC), parcel.text)
        for name, source in parcel.files.items():
            archive.writestr(_entry(f"{INPUTS}/{name}"), source.read_bytes())


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _BORN)
    entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
    return entry


def _files(one: Input, folder: Path, ignored: Ignored) -> Iterator[Path]:
    """Yield the files of an input that no rule leaves out; links are followed, never in circles."""
    if (folder / one.path).is_file():
        yield folder / one.path
        return
    seen: set[str] = set()
    for at, folders, names in os.walk(folder / one.path, followlinks=True):
        place = Path(at).relative_to(folder)
        folders[:] = [] if os.path.realpath(at) in seen else [
            name for name in sorted(folders) if not ignored.rule(f"{place / name}/")
        ]  # fmt: skip
        seen.add(os.path.realpath(at))
        yield from (Path(at) / name for name in names if not ignored.rule(str(place / name)))


def _refuse_ignored(one: Input, folder: Path, ignored: Ignored) -> None:
    """Refuse a sweep whose own data a rule leaves out: its job would look for it in vain."""
    slash = "/" if (folder / one.path).is_dir() else ""
    rule = ignored.rule(f"{one.path}{slash}")
    if rule is not None and one.path != ".":
        raise ValueError(
            f"{one.field}: {one.path} is not sent because of the rule {rule}; a line "
            f"`!/{one.path}{slash}` in {OWN} sends it"
        )


def _refuse_heavy(files: Mapping[str, Path]) -> None:
    sizes = {name: file.stat().st_size for name, file in files.items()}
    total = sum(sizes.values())
    if total <= MOST_BYTES:
        return
    largest = sorted(sizes, key=lambda name: sizes[name], reverse=True)[:_SHOWN]
    named = ", ".join(f"{name} ({sizes[name] / MIB:.1f} MiB)" for name in largest)
    raise ValueError(
        f"the sweep would send {total / MIB:.0f} MiB in {len(files)} files, and must send at most "
        f"{MOST_BYTES / MIB:.0f} MiB, for Ray keeps it in the head's memory; the largest: {named}. "
        f"Put a line such as `/{largest[0]}` into {OWN} for what the sweep does not read, or put "
        "the data on storage that all nodes see and name its absolute path"
    )


def _digest(files: Mapping[str, Path]) -> str:
    """Return a digest of names and contents."""
    digest = hashlib.sha256()
    for name, file in files.items():
        digest.update(f"{name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]
