"""Where files lie: the files of a split, and images by the names that people write."""

import os
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from workers.data.sample import SPLITS, DataError
from workers.data.text_files import read_names
from workers.recipe import Split

IMAGE_FOLDERS = ("images", "Images")
"""Usual names of a folder of images beside its captions."""
MISSING = "no such image in the folder or in images/"
_ENDINGS = ("", ".jpg", ".jpeg", ".png", ".webp")
"""Tables of contests name images by number; the file has an ending all the same."""


class Locator:
    """Finds images by the names that people write, asking the disk once per name.

    A letter with an accent is one character in some names and two in others, such as those of an
    archive made by macOS; either finds the file.
    """

    def __init__(self, folder: Path, places: Sequence[str] = IMAGE_FOLDERS) -> None:
        self.folder = folder
        inner = folders_in(folder, places)
        self._places = ("", *(path.relative_to(folder).as_posix() for path in inner))
        self._found: dict[str, str | None] = {}
        self._names: dict[PurePosixPath, dict[str, str]] = {}
        self._plain_names: dict[PurePosixPath, dict[str, str]] = {}

    def __call__(self, name: str) -> str | None:
        """Return the image's path relative to the folder, or None where no file is there."""
        if name not in self._found:
            self._found[name] = self._find(PurePosixPath(name.replace("\\", "/")))
        return self._found[name]

    def _find(self, name: PurePosixPath) -> str | None:
        if not name.name or name.is_absolute() or ".." in name.parts:
            return None
        for ending in _ENDINGS:
            for place in self._places:
                path = f"{place}/{name}{ending}" if place else f"{name}{ending}"
                # `Path` would take as long as the disk, which matters for 100,000 names.
                if os.path.isfile(f"{self.folder}/{path}"):
                    return path
        return None if str(name).isascii() else self._spelled_otherwise(name)

    def _spelled_otherwise(self, name: PurePosixPath) -> str | None:
        """Return the image whose name has the same characters, composed in another way."""
        for ending in _ENDINGS:
            for place in self._places:
                found = PurePosixPath()
                for part in (PurePosixPath(place) / f"{name}{ending}").parts:
                    names = self._names_in(found)
                    found /= names.get(unicodedata.normalize("NFC", part), part)
                with suppress(OSError, ValueError):
                    if (self.folder / found).is_file():
                        return str(found)
        return None

    def _names_in(self, inner: PurePosixPath) -> dict[str, str]:
        """Return the names in a folder by their composed form (NFC); none where there is none."""
        if inner not in self._names:
            names = list[str]()
            with suppress(OSError, ValueError):
                names = [path.name for path in (self.folder / inner).iterdir()]
            self._names[inner] = {unicodedata.normalize("NFC", name): name for name in names}
        return self._names[inner]

    def _plain_names_in(self, inner: PurePosixPath) -> dict[str, str]:
        """Return the names in a folder by what is the same for upper and lower case."""
        if inner not in self._plain_names:
            names = self._names_in(inner).values()
            self._plain_names[inner] = {name.casefold(): name for name in names}
        return self._plain_names[inner]

    def why_missing(self, name: str) -> str:
        """Return why no image is found by a name: what is there instead, as far as can be seen."""
        path = Path(name).expanduser()
        if path.is_absolute():
            with suppress(OSError, ValueError):
                if path.is_file():
                    return (
                        f"is an absolute path; the file is there, but not below {self.folder}: set "
                        "data.images to its folder and write names relative to that"
                    )
            return (
                f"is an absolute path, and no file is there; write names relative to {self.folder}"
            )
        if ".." in path.parts:
            return f"leads out of {self.folder}; set data.images to a folder above all images"
        written = PurePosixPath(name.replace("\\", "/"))
        plain = written.name.casefold()
        for place in self._places:
            there = self._plain_names_in(PurePosixPath(place) / written.parent).get(plain)
            if there is not None and there != written.name:
                return f"no such image; there is {there!r}: upper and lower case count"
        return MISSING


def folders_in(folder: Path, places: Sequence[str] = IMAGE_FOLDERS) -> list[Path]:
    """Return those of `places` that are folders in `folder`, spelled as they are on the disk.

    Where case makes no difference, images/ and Images/ are one folder and must not be two.
    """
    spelled = {path.name for path in folder.iterdir()}
    paths = (folder / place for place in places if place.split("/")[0] in spelled)
    return [path for path in paths if path.is_dir()]


def folder_of(path: str | None) -> Path:
    """Return ``data.path`` as a folder; raises `DataError` when it is none."""
    folder = Path(path or "").expanduser()
    if not path or not folder.is_dir():
        raise DataError(f"data.path must be a folder of images and captions; got {path!r}")
    return folder


def file_of(path: str | None, *patterns: str) -> Path:
    """Return the file that ``data.path`` is, or the only one like `patterns` in that folder.

    Raises `DataError` when there is none, or more than one.
    """
    given = Path(path or "").expanduser()
    if path and given.is_file():
        return given
    folder, expected = folder_of(path), " or ".join(patterns)
    found = sorted(file for pattern in patterns for file in folder.glob(pattern) if file.is_file())
    if len(found) == 1:
        return found[0]
    names = " and ".join(file.name for file in found) or "none"
    raise DataError(f"data.path {folder} must hold one file {expected}; it holds {names}")


def files_of_splits(
    folder: Path, division: Split, kind: str = "a file of image names"
) -> dict[Path, tuple[str, ...]]:
    """Return file in the folder -> the splits that it holds, for the names in `division`.

    Raises `DataError` when one of the files is missing; `kind` is what they should be.
    """
    files: dict[Path, tuple[str, ...]] = {}
    for name in SPLITS:
        own = getattr(division, name)
        if not isinstance(own, str):
            continue
        file = folder / own
        if not file.is_file():
            raise DataError(f"data.split.{name} must be {kind}; {file} is none")
        files[file] = (*files.get(file, ()), name)
    return files


def read_lists(folder: Path, division: Split) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Return (split, image name, place) of all names in the lists of `division`, and the bad lines.

    A place is such as ``train.txt line 3``. Raises `DataError` as `files_of_splits` does.
    """
    listed, problems = [], []
    for file, splits in files_of_splits(folder, division).items():
        names, faults = read_names(file)
        problems += faults
        listed += [
            (name, image, f"{file.name} line {line}") for name in splits for line, image in names
        ]
    return listed, problems
