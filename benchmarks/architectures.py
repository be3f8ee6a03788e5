"""Every architecture of `workers.tiny.architectures` through ``sweeps check --model``.

``python -m benchmarks.architectures`` writes the table in docs/models.md; with names of
architectures it prints what was found of them.
"""

import argparse
import re
import tempfile
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.tables import table_lines
from sweeps.cli.check import examined, table_of
from sweeps.quiet import quiet_libraries
from workers.contract import Finding
from workers.models.loading import load_processor
from workers.models.resolution import set_limits
from workers.recipe import Model
from workers.tiny.architectures import ARCHITECTURES, build

PAGE = Path(__file__).parent.parent / "docs" / "models.md"
BEGIN, END = "<!-- python -m benchmarks.architectures writes this -->", "<!-- end -->"
COLUMNS = (
    *("architecture", "packs", "keeps features", "several images", "limits of pixels"),
    *("layers of target sets", "s"),
)
_YES_NO = ("packing", "kept features", "several images")
_SHOWN = {"passed": "yes", "not possible": "no", "failed": "**fails**"}


@dataclass(frozen=True, kw_only=True)
class Tried:
    """An architecture, and what was found of it."""

    name: str
    findings: tuple[Finding, ...]
    limits: str
    """Fields of the sweep file that limit the pixels of its images."""
    seconds: float

    @property
    def failed(self) -> Finding | None:
        """What went wrong first, if anything did."""
        return next((each for each in self.findings if each.outcome == "failed"), None)

    def row(self) -> list[str]:
        """Return the cells of its row in the table."""
        found = {each.check: each for each in self.findings}
        if "targets" not in found:
            return [self.name, "does not load", *[""] * (len(COLUMNS) - 3), f"{self.seconds:.0f}"]
        shown = [_SHOWN[found[check].outcome] for check in _YES_NO]
        layers = found["targets"].detail.removeprefix("layers: ").partition(";")[0]
        layers = re.sub(r", such as [^)]*", "", layers)
        return [self.name, *shown, self.limits, layers, f"{self.seconds:.0f}"]


def try_out(name: str) -> Tried:
    """Build the checkpoint and check it as a base of a user's."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / name
        build(name, folder)
        findings = tuple(examined(name, folder))
        limits = limits_of(str(folder))
    seconds = time.perf_counter() - started
    return Tried(name=name, findings=findings, limits=limits, seconds=seconds)


def limits_of(base: str) -> str:
    """Return the fields that limit the pixels of the base's images, of those that there are."""
    found = []
    for field in ("min_pixels", "max_pixels"):
        model = Model.model_validate({"base": base, field: 64 * 64})
        with suppress(ValueError):  # another field, or no processor
            set_limits(load_processor(model, base), model)
            found.append(field)
    return ", ".join(found) or "none"


def reasons(tried: Sequence[Tried]) -> list[str]:
    """Return why something is not possible or wrong, each reason with its architectures."""
    names: dict[str, list[str]] = {}
    for each in tried:
        for finding in each.findings:
            told = finding.outcome == "not possible" and finding.check != "resolution"
            if told or finding is each.failed:  # a column has what limits there are
                detail = finding.detail
                if "dependencies: torchvision" in detail:
                    detail = "its image processor needs torchvision"
                names.setdefault(f"{finding.check}: {detail}", []).append(each.name)
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
        write(tried)


def write(tried: Sequence[Tried]) -> None:
    """Put the table in its place on the page."""
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
