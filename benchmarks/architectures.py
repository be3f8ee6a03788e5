"""Every architecture of `workers.tiny.architectures` through ``sweeps check --model``.

``python -m benchmarks.architectures`` writes the table in docs/models.md; with names of
architectures it prints what was found of them.
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.tables import table_lines
from sweeps.cli.check import examined, table_of
from sweeps.quiet import quiet_libraries
from workers.contract import Finding
from workers.tiny.architectures import ARCHITECTURES, build

PAGE = Path(__file__).parent.parent / "docs" / "models.md"
BEGIN, END = "<!-- python -m benchmarks.architectures writes this -->", "<!-- end -->"
COLUMNS = ("architecture", "model", "packs", "keeps features", "layers of targets", "s")
_SHOWN = {"passed": "yes", "not possible": "no", "failed": "**fails**"}


@dataclass(frozen=True, kw_only=True)
class Tried:
    """An architecture, and what was found of it."""

    name: str
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def failed(self) -> Finding | None:
        """What went wrong first, if anything did."""
        return next((each for each in self.findings if each.outcome == "failed"), None)

    def row(self) -> list[str]:
        """Return the cells of its row in the table."""
        found = {each.check: each for each in self.findings}
        seconds = f"{self.seconds:.0f}"
        if found["loads"].outcome == "failed" if "loads" in found else True:
            return [self.name, "does not load", "", "", "", seconds]
        packs, keeps = (_SHOWN[found[check].outcome] for check in ("packing", "kept features"))
        model = found["loads"].detail.partition(",")[0].removesuffix("ForConditionalGeneration")
        layers = found["targets"].detail.removeprefix("layers: ")
        return [self.name, model, packs, keeps, layers, seconds]


def try_out(name: str) -> Tried:
    """Build the checkpoint and check it as a base of a user's."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / name
        build(name, folder)
        findings = tuple(examined(name, folder))
    return Tried(name=name, findings=findings, seconds=time.perf_counter() - started)


def reasons(tried: Sequence[Tried]) -> list[str]:
    """Return why something is not possible or wrong, each reason with its architectures."""
    names: dict[str, list[str]] = {}
    for each in tried:
        for finding in each.findings:
            if finding.outcome == "not possible" or finding is each.failed:
                reason = f"{finding.check}: {finding.detail}"
                names.setdefault(reason.replace(f"'{each.name}'", "the base"), []).append(each.name)
    return [f"- {', '.join(own)}: {reason}" for reason, own in names.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="architectures; all by default")
    names = parser.parse_args().names
    quiet_libraries()
    warnings.simplefilter("ignore")
    console, tried = Console(), []
    for name in names or ARCHITECTURES:
        tried.append(try_out(name))
        if names:
            console.print(table_of(name, tried[-1].findings))
        else:
            failed = tried[-1].failed
            print(f"{name}: {'works' if failed is None else f'fails: {failed.check}'}", flush=True)
    if not names:
        works = sum(each.failed is None for each in tried)
        lines = [
            *table_lines(COLUMNS, [each.row() for each in tried]),
            *("", f"{works} of {len(tried)} work. What is not possible, or fails:", ""),
            *reasons(tried),
        ]
        page = PAGE.read_text()
        start, end = page.index(BEGIN) + len(BEGIN), page.index(END)
        PAGE.write_text("\n".join([page[:start], "", *lines, "", page[end:]]))


if __name__ == "__main__":
    main()
