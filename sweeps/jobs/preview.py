"""What ``sweeps submit`` shows of what it sends, before it does or with ``--dry-run`` alone."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console

from sweeps.jobs.outgoing import File, Outgoing
from sweeps.results.retention import format_bytes

LARGEST = 10
_NAMES = 5
UNNAMED = "named by no field and no table"


def show(sent: Outgoing, console: Console) -> None:
    """Print how much is sent, and the largest files."""
    shown = sent.largest(LARGEST)
    which = f"; the {LARGEST} largest:" if len(sent.files) > LARGEST else ""
    console.print(f"sends {_total(sent)}{which}", soft_wrap=True)
    _print(shown, console)
    _remark(sent, console)


def show_all(sent: Outgoing, console: Console) -> None:
    """Print every file that would be sent, and what would stay of the folders that hold them."""
    console.print(f"would send {_total(sent)}", soft_wrap=True)
    _print(sent.files, console)
    _remark(sent, console)
    left: dict[str, list[str]] = {}
    for name, reason in dict(_left(sent)).items():  # one folder may hold another
        left.setdefault(reason, []).append(name)
    for reason, names in sorted(left.items()):
        console.print(f"stays here, {reason}: {_some(names)}", soft_wrap=True)


def _total(sent: Outgoing) -> str:
    count = len(sent.files)
    files = (
        f" and {count} file{'s' * (count != 1)}, {sent.size / 1e6:.1f} MB" if count else " alone"
    )
    return f"the sweep file{files}"


def _print(files: Iterable[File], console: Console) -> None:
    for file in files:
        console.print(f"{format_bytes(file.size):>9}  {_shown(file.name)}", soft_wrap=True)


def _remark(sent: Outgoing, console: Console) -> None:
    """Print what is sent in spite of its name, and which samples are skipped."""
    for file in sent.files:
        if file.allowed is not None:
            console.print(
                f"on purpose, because of {file.allowed}: {_shown(file.name)}", style="yellow",
                soft_wrap=True,
            )  # fmt: skip
    if sent.inputs.problems:
        skipped = _some(sent.inputs.problems, "; ")
        console.print(f"skipped, as data.on_bad_sample says: {skipped}", soft_wrap=True)


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


def _some(names: Sequence[str], between: str = ", ") -> str:
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return between.join(map(_shown, names[:_NAMES])) + more


def _shown(name: str) -> str:
    """Return a name without what a terminal would obey."""
    return name if name.isprintable() else ascii(name)
