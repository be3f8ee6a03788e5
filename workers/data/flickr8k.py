"""Data source `flickr8k`: Flickr8k as its authors publish it.

``data.path`` is a folder that holds, itself or in ``Flickr8k_text/``, the captions
``Flickr8k.token.txt`` and the lists ``Flickr_8k.trainImages.txt``, ``devImages`` and
``testImages``; the images lie in ``Flicker8k_Dataset/`` (so spelled in the archive),
``Flickr8k_Dataset/``, ``Images/`` or the folder itself. The official lists decide which image is in
which split unless ``data.split`` gives shares or other lists; images in no list are not used.
"""

from workers.data.captions import CaptionRow, parse_tokens, read
from workers.data.entries import Description, SampleEntry, with_text
from workers.data.locate import IMAGE_FOLDERS, files_of_splits, folder_of, read_lists
from workers.data.sample import DataError
from workers.recipe import Data, Split

OPTIONS = ("images",)
TOKENS = "Flickr8k.token.txt"
OFFICIAL = Split(
    train="Flickr_8k.trainImages.txt",
    validation="Flickr_8k.devImages.txt",
    test="Flickr_8k.testImages.txt",
)
_UNPACKED = ("Flicker8k_Dataset", "Flickr8k_Dataset", "Flickr8k_Dataset/Flicker8k_Dataset")
PLACES = (*_UNPACKED, *IMAGE_FOLDERS)


def describe(data: Data) -> Description:
    """Describe the captions and the lists.

    A sample's id is the name of its image, such as ``1000268201_693.jpg``. Raises `DataError` when
    the folder, its captions or a list is missing.
    """
    folder, split = folder_of(data.path), data.split or OFFICIAL
    text = next((p for p in (folder, folder / "Flickr8k_text") if (p / TOKENS).is_file()), None)
    if text is None:
        raise DataError(
            f"data.path {folder} must hold {TOKENS}, itself or in Flickr8k_text/; it holds none. "
            "For Flickr8k with captions.txt and no lists use data.source: folder"
        )
    rows, problems = read(text / TOKENS, parse_tokens)
    by_image: dict[str, list[CaptionRow]] = {}
    for row in rows:
        by_image.setdefault(row.image, []).append(row)
    listed: dict[str, list[str]] = {}
    names, faults = read_lists(text, split)
    problems += faults
    for name, image, place in names:
        # The published captions name an image that does not exist; no list does.
        if image in by_image:
            listed.setdefault(image, []).append(name)
        else:
            problems.append(f"{image}: no caption in {TOKENS} ({place})")
    entries, faults = with_text(
        SampleEntry(
            id=image,
            image=image,
            captions=tuple(row.caption for row in by_image[image]),
            place=f"{TOKENS} line {by_image[image][0].line}",
            splits=tuple(listed.get(image, ())),
        )
        for image in (listed if split.named else by_image)
    )
    return Description(
        data=data,
        tables=[text / TOKENS, *files_of_splits(text, split)],
        entries=entries,
        problems=[*problems, *faults],
        folder=folder,
        places=PLACES,
    )
