"""Samples as a file of captions describes them, and their way to a data set."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workers.data.download import Rules
from workers.data.gather import SampleCandidate, gather
from workers.data.links import LinkedImages, is_link
from workers.data.locate import IMAGE_FOLDERS, MISSING, Locator, images_folder
from workers.data.sample import DataFiles, DataSet
from workers.data.table import Table, read_tables
from workers.recipe import Data


@dataclass(frozen=True, kw_only=True)
class SampleEntry:
    """One sample whose image has not been looked for yet."""

    id: str
    image: str
    """Name or link of the image, as it is written."""
    captions: tuple[str, ...]
    """Empty for images of the test split whose captions are not known."""
    question: str | None = None
    place: str
    """Where it is written, such as ``train.csv line 3``."""
    splits: tuple[str, ...] = ()
    """The splits that name it; none where shares decide."""


@dataclass(frozen=True, kw_only=True)
class Described:
    """A data set as its text files describe it; no image has been looked for yet."""

    data: Data
    tables: Sequence[Path]
    """The text files that were read."""
    entries: Sequence[SampleEntry]
    """Either all name their splits, or none does and shares divide them."""
    problems: Sequence[str]
    folder: Path
    """Where images lie unless ``data.images`` says otherwise."""
    places: Sequence[str] = IMAGE_FOLDERS
    """Folders in there in which they are looked for, too."""

    def locator(self) -> Locator:
        """Return what finds the images; raises `DataError` when their folder is none."""
        return Locator(images_folder(self.data.images, self.folder), self.places)


def describe_tables(
    data: Data, entries_of: Callable[[Table], tuple[list[SampleEntry], list[str]]]
) -> Described:
    """Describe a set of tables, of each of which `entries_of` gives the entries and bad rows."""
    data, tables, problems = read_tables(data)
    entries: list[SampleEntry] = []
    for table in tables:
        found, faults = entries_of(table)
        entries += found
        problems += faults
    return Described(
        data=data,
        tables=[table.path for table in tables],
        entries=entries,
        problems=problems,
        folder=tables[0].path.parent,
    )


def with_text(entries: Iterable[SampleEntry]) -> tuple[list[SampleEntry], list[str]]:
    """Return the entries with their captions that say something, and the others' faults.

    Whitespace in captions, line breaks included, is reduced to single spaces. An entry that
    has captions, but only empty ones, is left out.
    """
    kept, problems = [], []
    for entry in entries:
        captions = tuple(" ".join(caption.split()) for caption in entry.captions)
        said = tuple(caption for caption in captions if caption)
        problems += [f"{entry.image}: empty caption ({entry.place})"] * (len(captions) - len(said))
        if said or not captions:
            kept.append(replace(entry, captions=said))
    return kept, problems


def local_files(described: Described) -> DataFiles:
    """Return the text files, and the images on this machine that they name."""
    locate = described.locator()
    found = (locate(entry.image) for entry in described.entries if not is_link(entry.image))
    images = dict.fromkeys(locate.folder / image for image in found if image is not None)
    missing = _missing(described.entries, locate)
    return DataFiles(
        tables=tuple(described.tables),
        images=tuple(images),
        problems=(*described.problems, *missing.values()),
    )


def load_entries(described: Described) -> DataSet:
    """Find the images of the entries, fetch those that are links, and gather them.

    Images that cannot be found are problems. Raises `DataError` as `workers.data.gather.gather`
    does.
    """
    data, entries, locate = described.data, described.entries, described.locator()
    links = LinkedImages(
        rules=Rules(private=data.allow_private_links, redirected=data.allow_redirected_links)
    )
    candidates = []
    listed: dict[str, list[str]] = {}
    for entry in entries:
        candidate = _candidate(entry, locate, links)
        image = candidate.image if candidate else entry.image
        listed.setdefault(image, []).extend(entry.splits)
        if candidate is not None:
            candidates.append(candidate)
    named = any(entry.splits for entry in entries) or (data.split is not None and data.split.named)
    return gather(
        data,
        candidates,
        [*described.problems, *_missing(entries, locate).values()],
        listed if named else None,
        prepare=lambda drawn: links.fetch([image for image in drawn if is_link(image)]),
    )


def _missing(entries: Iterable[SampleEntry], locate: Locator) -> Mapping[str, str]:
    """Return image -> what is wrong, for images that are neither a link nor there."""
    missing: dict[str, str] = {}
    for entry in entries:
        if not is_link(entry.image) and locate(entry.image) is None:
            missing.setdefault(entry.image, f"{entry.image}: {MISSING} ({entry.place})")
    return missing


def _candidate(entry: SampleEntry, locate: Locator, links: LinkedImages) -> SampleCandidate | None:
    if is_link(entry.image):
        found, read = entry.image, links.reader(entry.image)
    else:
        path = locate(entry.image)
        if path is None:
            return None
        found, read = path, Path(locate.folder / path).read_bytes
    return SampleCandidate(
        id=entry.id,
        image=found,
        captions=entry.captions,
        question=entry.question,
        splits=entry.splits,
        read=read,
    )
