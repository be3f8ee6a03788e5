"""``sweeps check --model``: whether a base works here, shown on a tiny stand-in of it.

Of the base itself only its small files are read, in about a minute and without a GPU.
"""

import json
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweeps.quiet import quiet_libraries
from workers.families import REGEX

if TYPE_CHECKING:
    from workers.contract import Finding

WORKS, FAILS = 0, 1
"""Exit codes."""
_STYLES = {"passed": "green", "not possible": "yellow", "failed": "bold red"}


def check_model(
    model: str, revision: str | None, targets: Sequence[str], console: Console, *, as_json: bool
) -> int:
    """Check a base and return the exit code of the command.

    Raises ValueError, naming the field, for small files that cannot be had.
    """
    from workers.models import small_files

    quiet_libraries()
    folder = small_files.fetch(model, revision)
    found = []
    with warnings.catch_warnings(), console.status("builds a stand-in") as status:
        warnings.simplefilter("ignore")  # what a family assumes is what the checks look at
        for finding in examined(model, folder, targets):
            found.append(finding)
            status.update(f"{finding.check}: {finding.outcome}")
    works = all(finding.outcome != "failed" for finding in found)
    if as_json:
        whole = {"model": model, "revision": revision, "works": works}
        print(json.dumps({**whole, "checks": [asdict(finding) for finding in found]}, indent=2))
    else:
        console.print(table_of(model, found))
        console.print(_summary(found), style="green" if works else "red", soft_wrap=True)
    return WORKS if works else FAILS


def examined(model: str, folder: Path, targets: Sequence[str] = ()) -> Iterator["Finding"]:
    """Build the stand-in of the base whose small files are in `folder`, and yield what is found."""
    from workers.contract import examine, finding_of
    from workers.tiny import stand_in

    with tempfile.TemporaryDirectory() as root:
        made: list[stand_in.StandIn] = []

        def build() -> str:
            deep = any(each.startswith(REGEX) for each in targets)
            made.append(stand_in.of_config(model, folder, Path(root), deep=deep))
            return made[0].origin

        yield finding_of("stand-in", build)
        for each in made:
            yield from examine(each.base, folder, targets)


def table_of(model: str, found: Sequence["Finding"]) -> Table:
    """Return the table of all findings."""
    table = Table(title=model, title_justify="left")
    table.add_column("check", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("what was found, or why not")
    table.add_column("s", justify="right")
    first_with: dict[str, str] = {}
    for finding in found:
        outcome = Text(finding.outcome, style=_STYLES[finding.outcome])
        detail = finding.detail
        if finding.outcome != "passed":  # one fault ends many checks
            first = first_with.setdefault(detail, finding.check)
            detail = detail if first == finding.check else f"as in {first}"
        table.add_row(finding.check, outcome, detail, f"{finding.seconds:.1f}")
    return table


def _summary(found: Sequence["Finding"]) -> str:
    failed = [finding.check for finding in found if finding.outcome == "failed"]
    lacking = [finding.check for finding in found if finding.outcome == "not possible"]
    without = f"; not possible: {', '.join(lacking)}" if lacking else ""
    if failed:
        return f"does not work here: {', '.join(failed)}{without}"
    return f"works: {len(found) - len(lacking)} checks passed{without}"
