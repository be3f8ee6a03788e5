"""Data source `csv`: tables of images and captions, with any names of columns.

``data.path`` is one file, divided by shares, or a folder with files of its own for the splits,
such as a contest's ``train.csv`` and ``test.csv`` (see `workers.data.table`); the test file
may be without captions. ``data.columns`` names the columns. An image is an http or https link,
or a file beside the table, in ``images/`` or in ``data.images``.

Rows of one file with the same image and the same question are one sample with all their
captions; rows without a caption are each a sample of their own.
"""

from hashlib import sha256

from workers.data.captions import CAPTION_KEYS, IMAGE_KEYS
from workers.data.columns import find_column
from workers.data.entries import Description, SampleEntry, merge_captions, with_text
from workers.data.table import Table, describe_tables
from workers.files.addresses import is_address
from workers.recipe import Columns, Data
from workers.redaction import redact

OPTIONS = ("columns", "images", "allow_private_links", "allow_redirected_links")
IMAGE_NAMES = (*IMAGE_KEYS, "image_path", "image_link", "image_url", "image_id", "image_name")
CAPTION_NAMES = (*CAPTION_KEYS, "comment")


def describe(data: Data) -> Description:
    """Describe the tables; a sample's id is that of its first row, or else the image's name.

    With several files the ids of all but the test file are led by the file's name: ``train/7``.
    Raises `DataError` when a file or a column is missing.
    """
    return describe_tables(data, lambda table: _entries(table, data.columns))


def _entries(table: Table, columns: Columns) -> tuple[list[SampleEntry], list[str]]:
    image = table.needed("image", columns.image, IMAGE_NAMES)
    named = columns.caption and find_column(table.columns, columns.caption, table.path)
    if table.unlabelled and not named:
        caption = table.column("caption", None, () if columns.caption else CAPTION_NAMES)
    else:
        caption = table.needed("caption", columns.caption, CAPTION_NAMES)
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
        if not entry.image:
            problems.append(f"{entry.place}: row without an image")
        elif not row[id].strip():
            problems.append(f"{entry.place}: row without a value in {id}")
        elif entry.question == "":
            problems.append(f"{entry.place}: row without a question")
        else:
            entries.append(entry)
    entries, faults = with_text(entries)
    return merge_captions(entries), [*problems, *faults]


def _without_signature(id: str) -> str:
    """Return an id for all results: of a signed link the address and a digest, not the token."""
    hidden = redact(id, {}) if is_address(id) else id
    return id if hidden == id else f"{hidden}#{sha256(id.encode()).hexdigest()[:8]}"
