"""Files that name the images of one split, one per line."""

from pathlib import Path

from workers.data.problems import DataError
from workers.data.sample import SPLITS
from workers.data.text import read_lines
from workers.recipe import Split


def list_files(folder: Path, split: Split, kind: str = "a file of image names") -> dict[str, Path]:
    """Return split -> its file in the folder, for the parts of `split` that are names.

    Raises `DataError` when one of the files is missing; `kind` says what they should be.
    """
    files = {}
    for name in SPLITS:
        own = getattr(split, name)
        if not isinstance(own, str):
            continue
        files[name] = folder / own
        if not files[name].is_file():
            raise DataError(f"data.split.{name} must be {kind}; {files[name]} is none")
    return files


def read_names(file: Path) -> tuple[list[tuple[int, str]], list[str]]:
    """Return (line, image name) of each line that is not blank, and the bad lines."""
    lines, problems = read_lines(file)
    names = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    return names, problems
