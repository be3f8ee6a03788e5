"""CSV files with a header, and which of them holds which split."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.data.columns import find_column, first_column
from workers.data.entries import Description, SampleEntry
from workers.data.locate import file_of, files_of_splits, folder_of
from workers.data.sample import DataError
from workers.data.text_files import csv_records, delimiter_of, quote_fault, read_lines
from workers.recipe import Data, Split

CONTEST = Split(train="train.csv", validation=0.1, test="test.csv")
"""The division of a folder that holds a contest's two files."""

_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_SHOWN = 10  # bad rows of a file that has no other
Rows = tuple[tuple[int, Mapping[str, str]], ...]
"""(line, counted from 1; column -> what is written there)."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """The rows of one file."""

    path: Path
    columns: tuple[str, ...]
    rows: Rows
    splits: tuple[str, ...]
    """The splits that the file is named for; none where shares divide its rows."""
    alone: bool
    """Whether there is no other file."""

    @property
    def unlabelled(self) -> bool:
        """Whether captions may be missing: nothing is learned or chosen by the test split."""
        return self.splits == ("test",)

    def id(self, written: str) -> str:
        """Return the sample id for what identifies a row.

        Two files may both count from 0, so ids are led by the name of the file; those of the
        test file stay as written, for predictions are handed in under them.
        """
        return written if self.alone or self.unlabelled else f"{self.path.stem}/{written}"

    def column(self, field: str, name: str | None, usual: Sequence[str] = ()) -> str | None:
        """Return the configured column, or the first usual one that is there, or None.

        Raises `DataError`, listing the columns found, when a configured one is missing.
        """
        if name is None:
            return first_column(self.columns, usual, self.path)
        found = find_column(self.columns, name, self.path)
        if found is None:
            raise DataError(
                f"data.columns.{field} must be a column of {self.path}; got {name!r}, "
                f"its columns are {', '.join(self.columns)}"
            )
        return found

    def needed(self, field: str, name: str | None, usual: Sequence[str]) -> str:
        """Return the column as `column` does; raises `DataError` when there is none."""
        column = self.column(field, name, usual)
        if column is None:
            raise DataError(
                f"{self.path} must have a column {' or '.join(usual)}; its columns are "
                f"{', '.join(self.columns)}; data.columns.{field} names another one"
            )
        return column

    def fixed(self, name: str) -> str:
        """Return `name`; raises `DataError` when there is no such column."""
        found = find_column(self.columns, name, self.path)
        if found is None:
            raise DataError(
                f"{self.path} must have a column {name}; its columns are {', '.join(self.columns)}"
            )
        return found


def describe_tables(
    data: Data, read: Callable[[Table], tuple[list[SampleEntry], list[str]]]
) -> Description:
    """Describe the files of a set; `read` gives the entries and the bad rows of one of them.

    ``data.path`` is one file, or a folder with the files that ``data.split`` names, or with one
    file, or with ``train.csv`` and ``test.csv``, of which the first then gives a tenth of its
    images to validation. The description's `Data` has that split.

    Raises `DataError` when a file is missing, has no header or no row.
    """
    folder = Path(data.path or "").expanduser()
    contest = all((folder / str(own)).is_file() for own in (CONTEST.train, CONTEST.test))
    if data.split is None and contest:
        data = data.model_copy(update={"split": CONTEST})
    if data.split is None or not data.split.named:
        files: dict[Path, tuple[str, ...]] = {file_of(data.path, "*.csv"): ()}
    else:
        files = files_of_splits(folder_of(data.path), data.split, "a CSV file")
    entries: list[SampleEntry] = []
    problems: list[str] = []
    for path, splits in files.items():
        columns, rows, unreadable = read_table(path)
        table = Table(path=path, columns=columns, rows=rows, splits=splits, alone=len(files) == 1)
        found, bad = read(table)
        entries += found
        problems += [*unreadable, *bad]
    return Description(
        data=data,
        tables=list(files),
        entries=entries,
        problems=problems,
        folder=next(iter(files)).parent,
    )


def read_table(path: Path) -> tuple[tuple[str, ...], Rows, list[str]]:
    """Return the columns, the rows with their lines, and the bad rows of a file.

    Its fields are separated by what separates its header: comma, semicolon, tab or bar. Raises
    `DataError` when it cannot be read, has no header or no row that can be used.
    """
    lines, problems = read_lines(path)
    delimiter = delimiter_of(next((line for line in lines if line.strip()), ""))
    columns: tuple[str, ...] = ()
    rows = []
    for line, fields in csv_records(lines, delimiter):
        if isinstance(fields, csv.Error):
            problems.append(f"{path.name} line {line}: {quote_fault(fields)}")
        elif not columns:
            columns = tuple(field.strip() for field in fields)
        elif len(fields) == len(columns):
            rows.append((line, dict(zip(columns, fields, strict=True))))
        elif fields:
            more = "; put texts with a comma in quotes" if len(fields) > len(columns) else ""
            more = more.replace("comma", _NAMES[delimiter])
            problems.append(
                f"{path.name} line {line}: must have {len(columns)} columns, has {len(fields)}"
                f"{more}"
            )
    if not rows and problems:
        shown = "".join(f"\n  {problem}" for problem in problems[:_SHOWN])
        others = f"\n  ... and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise DataError(f"{path}: none of its rows can be used:{shown}{others}", problems)
    if not rows:
        raise DataError(f"{path} must have a header and rows; its header is {', '.join(columns)!r}")
    return columns, tuple(rows), problems
