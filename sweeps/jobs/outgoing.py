"""The files that leave this machine: each checked by its name, its links and its kind, then read.

A file is read once, through no link, and only these bytes are packed, so that no other user who may
write to the folder can put another file in its place in between.
"""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from sweeps.jobs import inputs
from sweeps.jobs.ignoring import OWN, Ignored, IgnoreRule, line_for
from sweeps.jobs.inputs import Inputs
from sweeps.results.retention import format_bytes
from sweeps.spec.sweep import Sweep

LARGEST = 10
UNNAMED = "named by no field and no table"
_NAMES = 5
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
    """The line of ``.sweepsignore`` by which it is sent in spite of its name."""


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """The files that a sweep sends besides its own."""

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


def collect_files(sweep: Sweep, *, follow_links: bool = False) -> Outgoing:
    """List what a sweep sends from the current folder.

    Raises ValueError for a file that a rule leaves out, one that is no regular file, and one that a
    link takes from outside of the folder unless `follow_links`; and as `sweeps.jobs.inputs.read`.
    """
    found, ignored, root = inputs.read(sweep), Ignored(Path()), Path.cwd().resolve()
    files = []
    for name, field in sorted(found.files.items()):
        place = Path(os.path.realpath(name))
        inside = place.is_relative_to(root)
        if not (inside or follow_links):
            step = root
            for part in Path(name).parts:
                step /= part
                if not Path(os.path.realpath(step)).is_relative_to(root):
                    break
            raise ValueError(
                f"{field}: {name} must lie in the working folder {root}, and the link "
                f"{step.relative_to(root)} leads to {os.path.realpath(step)}; copy it here, name "
                "the absolute path where all nodes of the cluster see it, or send it with "
                "--follow-links"
            )
        target = str(place.relative_to(root)) if inside else place.name
        rule = ignored.rule(name) or ignored.never(target)
        if rule is not None:  # its job would look for the sweep's own data in vain
            others = sum(1 for other in found.files if str(ignored.rule(other)) == str(rule)) - 1
            more = f" and {others} more" if others > 0 else ""
            link = "" if target == name or ignored.rule(name) else f", a link to {target},"
            raise ValueError(
                f"{field}: {name}{link}{more} is read by the sweep and not sent because of the "
                f"rule {rule}; a line `{rule.fix}` in {OWN} sends it"
            )
        info = place.lstat()
        if not stat.S_ISREG(info.st_mode):
            raise ValueError(_irregular(field, name))
        allowed = ignored.allowed(name) or ignored.allowed(target)
        files.append(File(name=name, field=field, place=place, size=info.st_size, allowed=allowed))
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


def show(sent: Outgoing, console: Console, *, everything: bool = False) -> None:
    """Print how much is sent, the largest files, and what deserves a look.

    With `everything`, before it is sent: all files, and what stays of the folders that hold them.
    """
    files = sent.files if everything else sent.largest(LARGEST)
    count = f" and {len(sent.files)} file{'s' * (len(sent.files) != 1)}, {sent.size / 1e6:.1f} MB"
    which = f"; the {LARGEST} largest:" if len(files) < len(sent.files) else ""
    total = f"the sweep file{count if files else ' alone'}{which}"
    console.print(f"{'would send' if everything else 'sends'} {total}", soft_wrap=True)
    for file in files:
        console.print(f"{format_bytes(file.size):>9}  {_printable(file.name)}", soft_wrap=True)
    for file in sent.files:
        if file.allowed is not None:
            line = f"on purpose, because of {file.allowed}: {_printable(file.name)}"
            console.print(line, style="yellow", soft_wrap=True)
    if sent.inputs.problems:
        skipped = _some(sent.inputs.problems, "; ")
        console.print(f"skipped, as data.on_bad_sample says: {skipped}", soft_wrap=True)
    if everything:
        left: dict[str, list[str]] = {}
        for name, reason in dict(_left(sent)).items():  # one folder may hold another
            left.setdefault(reason, []).append(name)
        for reason, names in sorted(left.items()):
            console.print(f"stays here, {reason}: {_some(names)}", soft_wrap=True)


def _left(sent: Outgoing) -> Iterator[tuple[str, str]]:
    """Yield what is not sent of the folders that hold what is, with the reason."""
    names = {file.name for file in sent.files}
    inside = {str(folder) for name in names for folder in Path(name).parents}
    for top in dict.fromkeys(sent.inputs.folders):
        for at, folders, files in os.walk(top):
            place = Path(at)
            for folder in sorted(folders):
                path = str(place / folder)
                rule = sent.ignored.rule(f"{path}/")
                if path not in inside and (rule or os.path.islink(path)):
                    folders.remove(folder)
                    yield f"{path}/", f"by the rule {rule}" if rule else UNNAMED
            for file in sorted(files):
                path = str(place / file)
                if path not in names:
                    rule = sent.ignored.rule(path)
                    yield path, f"by the rule {rule}" if rule else UNNAMED


def _some(names: Sequence[str], separator: str = ", ") -> str:
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return separator.join(map(_printable, names[:_NAMES])) + more


def _printable(name: str) -> str:
    """Return a name without control characters for the terminal."""
    return name if name.isprintable() else ascii(name)


def _irregular(field: str, name: str) -> str:
    return f"{field}: {name} must be a regular file, not a folder, pipe, socket or device"
