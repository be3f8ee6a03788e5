"""Data source `amazon-vqa`: questions about product images, as in the Amazon ML Challenge 2024.

``data.path`` is a folder with ``train.csv`` and ``test.csv``, or one file, of the columns
``index,image_link,group_id,entity_name,entity_value``; ``index`` may be missing where no
predictions are handed in, ``entity_value`` in a test file. The question is "What is the item
weight?" for the entity ``item_weight``, and the answer is the value, such as ``34 gram``.

An empty ``entity_value`` is an answer too: by the challenge's rule it says that the image
shows no value, and predicting one is a false positive. Such a sample has the one caption "".

With ``data.images`` nothing is fetched: images lie in that folder under the last part of their
link, as the challenge's own download script leaves them.
"""

from workers.data.contest import UNITS, question
from workers.data.entries import Description, SampleEntry
from workers.data.table import Table, describe_tables
from workers.recipe import Data

OPTIONS = ("images", "allow_private_links", "allow_redirected_links")


def describe(data: Data) -> Description:
    """Describe the files; a sample's id is its ``index``, led by the file's name but in test.

    Raises `DataError` when a file or a column is missing.
    """
    return describe_tables(data, lambda table: _entries(table, local=data.images is not None))


def _entries(table: Table, local: bool) -> tuple[list[SampleEntry], list[str]]:
    link, entity = table.fixed("image_link"), table.fixed("entity_name")
    value = None
    if not table.unlabelled or "entity_value" in table.columns:
        value = table.fixed("entity_value")
    entries: list[SampleEntry] = []
    problems = []
    for number, (line, row) in enumerate(table.rows):
        place = f"{table.path.name} line {line}"
        image, name = row[link].strip(), row[entity].strip()
        if not image:
            problems.append(f"{place}: row without an image_link")
        elif name not in UNITS:
            allowed = ", ".join(UNITS)
            problems.append(f"{place}: entity_name must be one of {allowed}; got {name!r}")
        else:
            entries.append(
                SampleEntry(
                    id=table.id(row.get("index", "").strip() or str(number)),
                    image=image.rpartition("/")[2] if local else image,
                    captions=(" ".join(row[value].split()),) if value else (),
                    question=question(name),
                    place=place,
                    splits=table.splits,
                )
            )
    return entries, problems
