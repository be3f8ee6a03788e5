"""From candidate images to a data set: the rules that all sources of files share."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from PIL import Image

from workers.data import splits
from workers.data.contents import DECODED, Content, Reading, read_contents
from workers.data.images import ImageError, open_rgb
from workers.data.remarks import remarks_on
from workers.data.sample import SPLITS, DataError, DataSet, Sample
from workers.recipe import Data, Split


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleCandidate:
    """A sample whose image has not been opened yet."""

    id: str
    image: str
    """Name of the image; candidates with the same one ask about the same image."""
    captions: tuple[str, ...]
    question: str | None = None
    splits: tuple[str, ...] = ()
    """The splits that name this sample, where they are given by sample and not by image."""
    read: Callable[[], bytes]
    """Returns the encoded image; may raise OSError."""
    file: Path | None = None
    """The file that `read` reads, where it is one."""

    def open(self) -> Image.Image:
        """Decode the image to upright RGB; raises `ImageError`."""
        return open_rgb(self.encoded(), self.image)

    def encoded(self) -> bytes:
        """Return the encoded image; raises `ImageError` where it cannot be read."""
        try:
            return self.read()
        except OSError as error:
            reason = error.strerror or error
            raise ImageError(f"{self.image}: cannot be read: {reason}") from error


def gather(
    data: Data,
    candidates: Sequence[SampleCandidate],
    problems: Sequence[str],
    listed: Mapping[str, Sequence[str]] | None = None,
    prepare: Callable[[Sequence[str]], None] | None = None,
    reading: Reading = DECODED,
) -> DataSet:
    """Choose, check and divide the candidates.

    `listed` is image -> the splits that name it, or None to divide by shares. Images that no
    list names are not used; a list may name images for which there is no candidate. With
    ``data.limit`` only the images chosen are opened, after `prepare` was called with their
    names. Each of those is read and fully decoded once, in threads: 1 to 2 ms of CPU per photo
    of 500 x 375 pixels, so about 12 s for 8,000 of them on one core. A `reading` without that
    takes a tenth of it, and calls no `prepare`.

    Raises `DataError` for any problem, all listed, unless ``data.on_bad_sample`` is skip, and
    always when a split is empty that ought to have images.
    """
    by_id: dict[str, SampleCandidate] = {}
    again = [each for each in candidates if by_id.setdefault(each.id, each) is not each]
    repeated = {each.id: f"{each.id}: more than one sample has this id" for each in again}
    by_image: dict[str, list[SampleCandidate]] = {}
    for each in by_id.values():
        if listed is None or each.image in listed:
            by_image.setdefault(each.image, []).append(each)
    if listed is None:
        chosen = splits.subset(by_image, data.limit, data.seed)
    else:
        known = {image: listed[image] for image in by_image}
        chosen = splits.subset_of_lists(known, data.limit, data.seed)
    if prepare and reading.decode:
        prepare(chosen)

    opened = [by_image[image][0] for image in chosen]
    checked = read_contents(opened, reading)
    broken = [str(result) for result in checked if isinstance(result, ImageError)]
    read = {
        image: result
        for image, result in zip(chosen, checked, strict=True)
        if isinstance(result, Content)
    }
    contents = {image: content.digest for image, content in read.items()}
    clashes: list[str] = []
    if listed is None:
        split_of = splits.by_shares(contents, data.split or Split(), data.seed)
    else:
        split_of, clashes = splits.by_lists(contents, listed)
    found = (*problems, *repeated.values(), *broken, *clashes)
    if found and data.on_bad_sample == "error":
        raise DataError.listing(str(data.path), found)

    divided = _divide(data, [by_image[image] for image in contents], split_of, read)
    wanted = {"train", "validation", *(name for names in (listed or {}).values() for name in names)}
    empty = [name for name in SPLITS if name in wanted and not divided[name]]
    if empty:
        counts = ", ".join(f"{name} {len(divided[name])}" for name in SPLITS)
        raise DataError(
            f"data.split leaves no image for {' and '.join(empty)} of data.path {data.path} "
            f"({counts} images; {len(found)} problems skipped)"
            + "".join(f"\n  {problem}" for problem in found),
            found,
        )
    by_sample = {id: contents[each.image] for id, each in by_id.items() if each.image in contents}
    hashed = digest(divided, by_sample)
    # Predictions are handed in in the order of the candidates.
    place = {id: number for number, id in enumerate(by_id)}
    divided["test"] = tuple(sorted(divided["test"], key=lambda sample: place[sample.id]))
    remarks = remarks_on(
        [image for image, content in read.items() if content.unrotated],
        [caption for own in divided.values() for each in own for caption in each.captions],
    )
    return DataSet(
        splits=divided,
        digest=hashed,
        problems=found,
        overlaps=tuple(clashes),
        remarks=remarks,
    )


def _divide(
    data: Data,
    images: Iterable[Iterable[SampleCandidate]],
    split_of: Mapping[str, str],
    read: Mapping[str, Content],
) -> dict[str, tuple[Sample, ...]]:
    """Return split -> samples; a sample is left out where another split has kept its image."""
    final = split_of
    if data.split is not None and data.split.named and not isinstance(data.split.validation, str):
        contents = {image: content.digest for image, content in read.items()}
        final = splits.hold_out(split_of, contents, data.split.validation, data.seed)
    divided: dict[str, list[Sample]] = {name: [] for name in SPLITS}
    for candidates in images:
        for each in candidates:
            split = split_of.get(each.image)
            if split and (not each.splits or split in each.splits):
                sample = Sample(
                    id=each.id,
                    open=each.open,
                    captions=each.captions,
                    question=each.question,
                    digest=read[each.image].digest,
                    size=read[each.image].size,
                )
                divided[final[each.image]].append(sample)
    return {name: tuple(samples) for name, samples in divided.items()}


def digest(divided: Mapping[str, Sequence[Sample]], contents: Mapping[str, str]) -> str:
    """Return a hex hash over split, id, image content, captions and question of every sample.

    `contents` is sample id -> hash of the image's bytes.
    """
    samples = ((name, sample) for name in SPLITS for sample in divided[name])
    entries = [[name, s.id, contents[s.id], s.captions, s.question] for name, s in samples]
    return sha256(json.dumps(entries).encode()).hexdigest()
