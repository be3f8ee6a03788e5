"""Captions to measure with: made up from a seed, or Flickr8k's own text."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from workers.data.captions import parse_tokens, read
from workers.data.flickr8k import OFFICIAL, TOKENS
from workers.data.text_files import read_names

REFERENCES = 5
_WHO = (
    ("man", "guy", "person", "adult", "worker"),
    ("woman", "lady", "girl", "person", "mother"),
    ("boy", "child", "kid", "toddler", "youngster"),
    ("dog", "puppy", "animal", "retriever", "terrier"),
    ("group of people", "crowd", "several friends", "team", "bunch of tourists"),
)
_LOOKS = ("young", "old", "small", "tall", "brown", "white", "black", "smiling", "tired", "wet")
_WEARS = ("a red shirt", "a blue jacket", "a hat", "sunglasses", "a striped collar", "boots")
_DOES = (
    ("runs through", "is running in", "races across", "sprints over", "jogs along"),
    ("jumps over", "leaps above", "is jumping near", "hops across", "bounds past"),
    ("sits beside", "is sitting on", "rests near", "waits next to", "relaxes by"),
    ("walks along", "is walking past", "strolls down", "wanders through", "crosses"),
    ("looks at", "is watching", "stares toward", "points at", "photographs"),
)
_WHERE = (
    ("the beach", "the sand", "the shore", "the ocean", "the waves"),
    ("a snowy mountain", "the snow", "a white slope", "a hill", "the ice"),
    ("a busy street", "the road", "a city sidewalk", "downtown traffic", "an avenue"),
    ("the grass", "a green field", "a meadow", "the lawn", "a park"),
    ("a wooden bench", "a table", "an outdoor cafe", "a stone wall", "the stairs"),
    ("a swimming pool", "the water", "a lake", "a river", "a fountain"),
)
_WITH = ("with a ball", "holding a camera", "at night", "in the rain", "near a bicycle", "today")


def made(images: int, seed: int = 0) -> dict[str, list[str]]:
    """Return image id -> five captions of one made-up scene, in different words."""
    draw = random.Random(seed)
    return {f"{number}.jpg": _scene(draw) for number in range(images)}


def _scene(draw: random.Random) -> list[str]:
    who, does, where = draw.choice(_WHO), draw.choice(_DOES), draw.choice(_WHERE)
    looks, wears, along = draw.sample(_LOOKS, 3), draw.choice(_WEARS), draw.sample(_WITH, 2)
    captions = []
    for _ in range(REFERENCES):
        words = ["A", draw.choice(looks), draw.choice(who)]
        if draw.random() < 0.4:
            words += ["wearing", wears]
        words += [draw.choice(does), draw.choice(where)]
        if draw.random() < 0.5:
            words.append(draw.choice(along))
        captions.append(" ".join(words) + " .")
    return captions


def flickr8k(folder: Path, split: str = "test") -> dict[str, list[str]]:
    """Return image id -> its five captions, for the images of an official split in its order."""
    rows, _ = read(folder / TOKENS, parse_tokens)
    captions: dict[str, list[str]] = {}
    for row in rows:
        captions.setdefault(row.image, []).append(row.caption)
    names, _ = read_names(folder / str(getattr(OFFICIAL, split)))
    return {image: captions[image] for _, image in names}


def guesses(references: Mapping[str, Sequence[str]], draw: random.Random) -> dict[str, str]:
    """Return a caption per image as a half-trained model might write it."""
    words = sorted({word for texts in references.values() for word in texts[0].split()})
    return {image: _guess(texts, words, draw) for image, texts in references.items()}


def changed(
    candidates: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    share: float,
    draw: random.Random,
) -> dict[str, str]:
    """Return the candidates with that share of them written anew, as after one more epoch."""
    images = draw.sample(list(candidates), round(share * len(candidates)))
    return {**candidates, **guesses({image: references[image] for image in images}, draw)}


def _guess(texts: Sequence[str], words: Sequence[str], draw: random.Random) -> str:
    """Return one of the texts with words left out and others put in."""
    kept = [word for word in draw.choice(texts).split() if draw.random() > 0.2]
    return " ".join(draw.choice(words) if draw.random() < 0.15 else word for word in kept)
