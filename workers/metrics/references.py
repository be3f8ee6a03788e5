"""Checks the references of a set of images, and the ids of captions for them."""

from collections.abc import Iterable, Mapping, Sequence


def given(references: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the references as they are; raises ValueError if an image has none."""
    if not references:
        raise ValueError("at least one image with references is needed to score captions")
    bare = [image for image, texts in references.items() if not texts]
    if bare:
        raise ValueError(f"every image must have a reference; not so: {_some(bare)}")
    return {image: list(texts) for image, texts in references.items()}


def with_words(references: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the references that have a word; raises ValueError if an image keeps none."""
    kept = {image: [text for text in texts if text.strip()] for image, texts in references.items()}
    bare = [image for image, texts in kept.items() if not texts]
    if bare:
        raise ValueError(f"every image must have a reference with a word; not so: {_some(bare)}")
    return kept


def check_ids(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> None:
    """Raise ValueError unless both have the same images, naming those that one lacks."""
    missing = references.keys() - candidates.keys()
    unknown = candidates.keys() - references.keys()
    if missing:
        raise ValueError(f"every image must have a caption; missing: {_some(missing)}")
    if unknown:
        raise ValueError(f"captions of images without references: {_some(unknown)}")


def _some(images: Iterable[str]) -> str:
    """Name up to five images."""
    names = sorted(images)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(repr, names[:5])) + more
