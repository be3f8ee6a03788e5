"""What was found, line by line: written at once, so that a run that is killed still tells."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.ladder.report import table

Line = dict[str, Any]


@dataclass(frozen=True)
class Results:
    """The lines of one part, or with ``part`` "" of the whole run, in a file of JSON lines."""

    file: Path
    part: str = ""

    def row(self, title: str, **cells: object) -> None:
        """Tell a row of the table `title`, whose columns are the names of its first row's cells."""
        self._write({"table": title, "row": {name: _cell(value) for name, value in cells.items()}})

    def note(self, text: str) -> None:
        """Tell something in words."""
        self._write({"note": text})

    def outcome(self, outcome: str, seconds: float, error: str = "") -> None:
        """Tell how the part ended."""
        self._write({"outcome": outcome, "seconds": round(seconds, 1), "error": error})

    def _write(self, line: Line) -> None:
        with self.file.open("a") as file:
            file.write(json.dumps({"part": self.part, **line}) + "\n")


def read(file: Path) -> list[Line]:
    """Return all lines; the last one may be cut, and is then left out."""
    whole = file.read_text().rpartition("\n")[0] if file.is_file() else ""
    return [json.loads(line) for line in whole.splitlines()]


def as_markdown(lines: Iterable[Line], titles: Mapping[str, str]) -> str:
    """Return the page of a run: its notes, and a section with tables for each part in `titles`."""
    every = list(lines)
    sections = ["# On a GPU", *_texts([line for line in every if not line["part"]])]
    for part, title in titles.items():
        own = [line for line in every if line["part"] == part]
        if own:
            sections += [f"## ({part}) {title}", *_texts(own)]
    return "\n\n".join(sections) + "\n"


def _texts(lines: list[Line]) -> list[str]:
    texts = []
    ends = [line for line in lines if "outcome" in line]
    texts += [f"{line['outcome']}, {line['seconds']:.0f} s." for line in ends]
    if notes := [f"- {line['note']}" for line in lines if "note" in line]:
        texts.append("\n".join(notes))
    for title in dict.fromkeys(line["table"] for line in lines if "table" in line):
        rows = [line["row"] for line in lines if line.get("table") == title]
        columns = list(rows[0])
        cells = [[row.get(column, "") for column in columns] for row in rows]
        texts.append(f"{title}:\n\n{table(columns, cells)}")
    texts += [f"```\n{line['error'].strip()}\n```" for line in ends if line["error"]]
    return texts


def _cell(value: object) -> str:
    """Return a number with three digits at least that count, and all else as it is."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
