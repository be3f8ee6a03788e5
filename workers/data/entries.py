"""Samples as a file of captions describes them, and their way to a data set."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workers.data.download import Rules
from workers.data.gather import Candidate, gather
from workers.data.links import Links, is_link
from workers.data.locate import MISSING, Locator
from workers.data.sample import DataSet
from workers.recipe import Data


@dataclass(frozen=True, kw_only=True)
class Entry:
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


def with_text(entries: Iterable[Entry]) -> tuple[list[Entry], list[str]]:
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


def load_entries(
    data: Data, entries: Sequence[Entry], problems: Sequence[str], locate: Locator
) -> DataSet:
    """Find the images of the entries, fetch those that are links, and gather them.

    Entries either all name their splits, or none does and shares divide them. Images that
    cannot be found are problems. Raises `DataError` as `workers.data.gather.gather` does.
    """
    links = Links(
        rules=Rules(private=data.allow_private_links, redirected=data.allow_redirected_links)
    )
    missing: dict[str, str] = {}
    candidates = []
    listed: dict[str, list[str]] = {}
    for entry in entries:
        candidate = _candidate(entry, locate, links)
        image = candidate.image if candidate else entry.image
        listed.setdefault(image, []).extend(entry.splits)
        if candidate is None:
            missing.setdefault(entry.image, f"{entry.image}: {MISSING} ({entry.place})")
        else:
            candidates.append(candidate)
    named = any(entry.splits for entry in entries) or (data.split is not None and data.split.named)
    return gather(
        data,
        candidates,
        [*problems, *missing.values()],
        listed if named else None,
        prepare=lambda drawn: links.fetch([image for image in drawn if is_link(image)]),
    )


def _candidate(entry: Entry, locate: Locator, links: Links) -> Candidate | None:
    if is_link(entry.image):
        found, read = entry.image, links.reader(entry.image)
    else:
        path = locate(entry.image)
        if path is None:
            return None
        found, read = path, Path(locate.folder / path).read_bytes
    return Candidate(
        id=entry.id,
        image=found,
        captions=entry.captions,
        question=entry.question,
        splits=entry.splits,
        read=read,
    )
