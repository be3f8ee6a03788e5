"""Data source `csv`: tables of images and captions, with any names of columns.

``data.path`` is one file, divided by shares, or a folder with files of its own for the splits,
such as a contest's ``train.csv`` and ``test.csv`` (see `workers.data.table`); the test file
may be without captions. ``data.columns`` names the columns. An image is an http or https link,
or a file beside the table, in ``images/`` or in ``data.images``.

Rows of one file with the same image and the same question are one sample with all their
captions; rows without a caption are each a sample of their own.
"""

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256

from workers.data.captions import CAPTION_KEYS, IMAGE_KEYS
from workers.data.entries import (
    Described,
    SampleEntry,
    describe_tables,
    load_entries,
    local_files,
    with_text,
)
from workers.data.sample import DataFiles, DataSet
from workers.data.table import Table
from workers.files.addresses import is_address
from workers.recipe import Columns, Data
from workers.redaction import redact

OPTIONS = ("columns", "images", "allow_private_links", "allow_redirected_links")
IMAGE_NAMES = (*IMAGE_KEYS, "image_path", "image_link", "image_url", "image_id")


def load(data: Data) -> DataSet:
    """Load the tables; a sample's id is that of its first row, or else the image's name.

    Ids are kept with all results, so that of a link has no signature or token.

    With several files the ids of all but the test file are led by the file's name: ``train/7``.

    Raises `DataError` as `workers.data.gather.gather` does, and when a file or a column is
    missing.
    """
    return load_entries(describe(data))


def files(data: Data) -> DataFiles:
    """List the files that `load` reads; raises `DataError` as it does before it opens an image."""
    return local_files(describe(data))


def describe(data: Data) -> Described:
    """Read the tables."""
    return describe_tables(data, lambda table: _entries(table, data.columns))


def _without_signature(id: str) -> str:
    """Return the id of a row: of a signed link the address and a digest, without the signature."""
    hidden = redact(id, {}) if is_address(id) else id
    return id if hidden == id else f"{hidden}#{sha256(id.encode()).hexdigest()[:8]}"


def _entries(table: Table, columns: Columns) -> tuple[list[SampleEntry], list[str]]:
    image = table.needed("image", columns.image, IMAGE_NAMES)
    caption = _caption_column(table, columns)
    question = table.column("question", columns.question)
    id = table.column("id", columns.id) or image
    entries: list[SampleEntry] = []
    problems: list[str] = []
    for line, row in table.rows:
        entry = SampleEntry(
            id=_without_signature(table.id(row[id].strip())),
            image=row[image].strip(),
            captions=(row[caption],) if caption else (),
            question=" ".join(row[question].split()) if question else None,
            place=f"{table.path.name} line {line}",
            splits=table.splits,
        )
        lacking = _lacking(entry, row, id)
        if lacking:
            problems.append(f"{entry.place}: row without {lacking}")
        else:
            entries.append(entry)
    entries, faults = with_text(entries)
    return _merged(entries), [*problems, *faults]


def _caption_column(table: Table, columns: Columns) -> str | None:
    if table.unlabelled and columns.caption not in table.columns:
        return table.column("caption", None, () if columns.caption else CAPTION_KEYS)
    return table.needed("caption", columns.caption, CAPTION_KEYS)


def _lacking(entry: SampleEntry, row: Mapping[str, str], id: str) -> str | None:
    """Return what the row must say and does not."""
    if not entry.image:
        return "an image"
    if not row[id].strip():
        return f"a value in {id}"
    return "a question" if entry.question == "" else None


def _merged(entries: list[SampleEntry]) -> list[SampleEntry]:
    """Return one entry per image and question, with all captions, of those that have some."""
    merged: dict[tuple[str, str | None, str], SampleEntry] = {}
    for entry in entries:
        key = (entry.image, entry.question, "" if entry.captions else entry.place)
        first = merged.get(key, replace(entry, captions=()))
        merged[key] = replace(first, captions=(*first.captions, *entry.captions))
    return list(merged.values())
