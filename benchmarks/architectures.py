"""Every architecture that is built here, against the contract of bases.

``python -m benchmarks.architectures`` writes the table in docs/models.md; with names of
architectures it prints their findings instead.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workers.contract import CHECKS, Finding, Subject, finding_of, findings

from workers.tiny.architectures import build

PAGE = Path(__file__).parent.parent / "docs" / "models.md"
BEGIN, END = "<!-- made by python -m benchmarks.architectures -->", "<!-- end of the table -->"
LOADS = "loads"


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What was found of an architecture."""

    name: str
    findings: Mapping[str, Finding]
    """Check -> its finding; only that of loading where it failed."""
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong; something may be impossible."""
        return all(finding.outcome != "failed" for finding in self.findings.values())


def try_out(name: str, folder: Path) -> Tried:
    """Build the checkpoint in `folder` and make all checks of it."""
    started = time.perf_counter()
    subjects: list[Subject] = []

    def load() -> str:
        build(name, folder)
        subjects.append(Subject.of(str(folder)))
        return type(subjects[0].base.model).__name__

    found = [finding_of(LOADS, load)]
    for subject in subjects:
        found += findings(subject, CHECKS)
    seconds = time.perf_counter() - started
    return Tried(name=name, findings={each.check: each for each in found}, seconds=seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="architectures; all by default")
    names = parser.parse_args().names
    with tempfile.TemporaryDirectory() as folder:
        tried = [show(try_out(name, Path(folder) / name)) for name in names or ARCHITECTURES]
