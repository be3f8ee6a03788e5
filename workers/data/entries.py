"""A data set as its text files describe it, and its way to loaded samples."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workers.data.contents import DECODED, Reading
from workers.data.download import Rules
from workers.data.gather import SampleCandidate, gather
from workers.data.links import LinkedImages, is_link
from workers.data.locate import IMAGE_FOLDERS, Locator
from workers.data.sample import DataError, DataFiles, DataSet
from workers.recipe import Data


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleEntry:
    """One sample whose image has not been located yet."""

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
class Description:
    """A data set as its text files describe it; no image has been opened yet."""

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
    listed: Mapping[str, Sequence[str]] | None = None
    """Image -> the splits that list it, where the entries do not name their splits."""

    def locator(self) -> Locator:
        """Return what finds the images; raises `DataError` when their folder is none."""
        folder = self.folder / Path(self.data.images or "").expanduser()
        if not folder.is_dir():
            raise DataError(f"data.images must be a folder of images; {folder} is none")
        return Locator(folder, self.places)


def with_text(entries: Iterable[SampleEntry]) -> tuple[list[SampleEntry], list[str]]:
    """Return the entries with their captions that are not empty, and a problem for each empty one.

    Whitespace in captions, line breaks included, is reduced to single spaces. An entry that
    has captions, but only empty ones, is left out.
    """
    kept, problems = [], []
    for entry in entries:
        captions = tuple(" ".join(caption.split()) for caption in entry.captions)
        filled = tuple(caption for caption in captions if caption)
        empty = len(captions) - len(filled)
        problems += [f"{entry.image}: empty caption ({entry.place})"] * empty
        if filled or not captions:
            kept.append(replace(entry, captions=filled))
    return kept, problems


def merge_captions(entries: Iterable[SampleEntry]) -> list[SampleEntry]:
    """Return one entry per image and question, with all captions, of those that have some."""
    first: dict[tuple[str, str | None, str], SampleEntry] = {}
    captions: dict[tuple[str, str | None, str], tuple[str, ...]] = {}
    for entry in entries:
        key = (entry.image, entry.question, "" if entry.captions else entry.place)
        first.setdefault(key, entry)
        captions[key] = captions.get(key, ()) + entry.captions
    return [replace(entry, captions=captions[key]) for key, entry in first.items()]


def local_files(described: Description) -> DataFiles:
    """Return the text files, and the images on this machine that they name."""
    locate = described.locator()
    found = (locate(entry.image) for entry in described.entries if not is_link(entry.image))
    images = dict.fromkeys(locate.folder / image for image in found if image is not None)
    problems = (*described.problems, *_missing(described.entries, locate))
    return DataFiles(tables=tuple(described.tables), images=tuple(images), problems=problems)


def load_entries(described: Description, reading: Reading = DECODED) -> DataSet:
    """Find the images of the entries, fetch those that are links, and gather them.

    Links are fetched only where images are decoded. Images that cannot be found are problems.
    Raises `DataError` as `workers.data.gather.gather` does.
    """
    data, locate = described.data, described.locator()
    rules = Rules(private=data.allow_private_links, redirected=data.allow_redirected_links)
    links = LinkedImages(rules)
    candidates = []
    listed: dict[str, list[str]] = {}
    for entry in described.entries:
        image = entry.image if is_link(entry.image) else locate(entry.image)
        listed.setdefault(image or entry.image, []).extend(entry.splits)
        if image is None:
            continue
        file = None if is_link(image) else locate.folder / image
        candidates.append(
            SampleCandidate(
                id=entry.id,
                image=image,
                captions=entry.captions,
                question=entry.question,
                splits=entry.splits,
                read=file.read_bytes if file else links.reader(image),
                file=file,
            )
        )
    lists = described.listed
    if lists is None and (any(listed.values()) or (data.split and data.split.named)):
        lists = listed
    return gather(
        data,
        candidates,
        [*described.problems, *_missing(described.entries, locate)],
        lists,
        prepare=lambda chosen: links.fetch([image for image in chosen if is_link(image)]),
        reading=reading,
    )


def _missing(entries: Iterable[SampleEntry], locate: Locator) -> Iterable[str]:
    """Return a problem for each image that is neither a link nor a file that is there."""
    missing: dict[str, str] = {}
    for entry in entries:
        if not is_link(entry.image) and locate(entry.image) is None:
            missing.setdefault(
                entry.image, f"{entry.image}: {locate.why_missing(entry.image)} ({entry.place})"
            )
    return missing.values()
