"""The files that leave this machine: each checked by its name, its links and its kind, then read.

A file is read once, through no link, and only these bytes are packed, so that nobody who may write
to the folder can put another file in its place in between.
"""

import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeps.jobs import inputs
from sweeps.jobs.ignoring import OWN, Ignored, IgnoreRule, line_for
from sweeps.jobs.inputs import Inputs
from sweeps.spec.sweep import Sweep

_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY")


@dataclass(frozen=True, kw_only=True)
class File:
    """A file that is to be sent."""

    name: str
    """Path below the working folder, as the sweep finds it."""
    field: str
    """The field that names it, directly or through its table."""
    place: Path
    """Where it lies, without a link."""
    size: int
    """Bytes."""
    allowed: IgnoreRule | None
    """The line by which it is sent in spite of its name."""


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """What a sweep sends besides its own file."""

    files: Sequence[File]
    """Sorted by name."""
    inputs: Inputs
    ignored: Ignored

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def largest(self, count: int) -> list[File]:
        """Return the largest files, the largest first."""
        return sorted(self.files, key=lambda file: file.size, reverse=True)[:count]


def outgoing(sweep: Sweep, *, follow_links: bool = False) -> Outgoing:
    """List what a sweep sends from the current folder.

    Raises ValueError for a file that a rule leaves out, one that is no regular file, and one that a
    link takes from outside of the folder unless `follow_links`; and as `sweeps.jobs.inputs.read`.
    """
    found, ignored, root = inputs.read(sweep), Ignored.of(Path()), Path.cwd().resolve()
    places = {name: Path(os.path.realpath(name)) for name in found.files}
    if not follow_links:
        for name, place in places.items():
            if not place.is_relative_to(root):
                raise ValueError(_leads_out(found.files[name], name, root))
    _refuse_ignored(found.files, places, root, ignored)
    files = []
    for name, place in sorted(places.items()):
        info = place.lstat()
        if not stat.S_ISREG(info.st_mode):
            raise ValueError(_irregular(found.files[name], name))
        files.append(
            File(
                name=name,
                field=found.files[name],
                place=place,
                size=info.st_size,
                allowed=ignored.allowed(name) or ignored.allowed(_target(place, root)),
            )
        )
    return Outgoing(files=files, inputs=found, ignored=ignored)


def contents(file: File, ignored: Ignored) -> bytes:
    """Read a file; raises ValueError when it changed meanwhile, or holds a private key."""
    try:
        with os.fdopen(_opened(file.place), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise ValueError(_irregular(file.field, file.name))
            content = stream.read(file.size + 1)
    except OSError as error:
        raise ValueError(f"{file.field}: {file.name} cannot be read: {error.strerror}") from error
    if len(content) != file.size:
        raise ValueError(f"{file.field}: {file.name} changed while it was read; submit again")
    if _PRIVATE_KEY.search(content) and not ignored.names(file.name):
        raise ValueError(
            f"{file.field}: {file.name} holds a private key; leave it out of the data, or send it "
            f"by a line `{line_for(file.name)}` in {OWN}"
        )
    return content


def _opened(place: Path) -> int:
    """Open a file for reading without following a link anywhere on the way."""
    # A folder on the way need not be readable, where the system can open it without reading it.
    way = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW
    folder = os.open(place.anchor, way)
    try:
        for name in place.parts[1:-1]:
            inner = os.open(name, way, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(place.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)


def _refuse_ignored(
    files: Mapping[str, str], places: Mapping[str, Path], root: Path, ignored: Ignored
) -> None:
    """Refuse a sweep whose own data a rule leaves out: its job would look for it in vain."""
    for name, field in files.items():
        target = _target(places[name], root)
        rule = ignored.rule(name) or ignored.never(target)
        if rule is None:
            continue
        others = sum(1 for other in files if str(ignored.rule(other)) == str(rule)) - 1
        more = f" and {others} more" if others > 0 else ""
        link = "" if target == name or ignored.rule(name) else f", a link to {target},"
        raise ValueError(
            f"{field}: {name}{link}{more} is read by the sweep and not sent because of the rule "
            f"{rule}; a line `{rule.fix}` in {OWN} sends it"
        )


def _target(place: Path, root: Path) -> str:
    """Return what a link names: a path below the working folder, else only the file's name."""
    return str(place.relative_to(root)) if place.is_relative_to(root) else place.name


def _leads_out(field: str, name: str, root: Path) -> str:
    """Return the error for a file behind a link that leads out of the working folder."""
    path = root
    for part in Path(name).parts:
        path /= part
        if not Path(os.path.realpath(path)).is_relative_to(root):
            break
    return (
        f"{field}: {name} must lie in the working folder {root}, and the link "
        f"{path.relative_to(root)} leads to {os.path.realpath(path)}; copy it here, name the "
        "absolute path where all nodes of the cluster see it, or send it with --follow-links"
    )


def _irregular(field: str, name: str) -> str:
    return f"{field}: {name} must be a regular file, not a folder, pipe, socket or device"
