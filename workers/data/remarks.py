"""What a person should know of data that can be used as it is."""

import unicodedata
from collections import Counter
from collections.abc import Sequence

_SHOWN = 3
_LOOKED_AT = 1000
"""Captions by which their script is known."""
_SHARE = 0.3
"""Of all letters, those of a script without spaces in captions that are written in it."""
_UNSPACED = {
    "CJK": "Chinese or Japanese",
    "HIRAGANA": "Chinese or Japanese",
    "KATAKANA": "Chinese or Japanese",
    "THAI": "Thai",
    "LAO": "Lao",
    "KHMER": "Khmer",
    "MYANMAR": "Burmese",
    "TIBETAN": "Tibetan",
}
"""First word of the names of a script's letters in Unicode -> the script."""


def remarks_on(unrotated: Sequence[str], captions: Sequence[str]) -> tuple[str, ...]:
    """Return remarks on a data set's images with a damaged orientation, and on its captions."""
    found = []
    if unrotated:
        names = ", ".join(unrotated[:_SHOWN]) + (", ..." if len(unrotated) > _SHOWN else "")
        what = "1 image has" if len(unrotated) == 1 else f"{len(unrotated)} images have"
        found.append(f"{what} damaged EXIF data, and no orientation from there is used: {names}")
    if script := script_without_spaces(captions):
        found.append(
            f"captions are in {script}, which has no spaces between words: BLEU, METEOR, ROUGE-L "
            "and CIDEr take each run of letters as one word, and tell little apart. Write a space "
            "between words, or between characters, or let anls or exact_match be the objective"
        )
    return tuple(found)


def script_without_spaces(captions: Sequence[str]) -> str | None:
    """Return the script without spaces in which captions are written, None for all others.

    Captions that have a space between every few letters are split into words already.
    """
    letters: Counter[str] = Counter()
    words = 0
    for caption in captions[:_LOOKED_AT]:
        words += len(caption.split())
        for letter in filter(str.isalpha, caption):
            script = "" if letter.isascii() else unicodedata.name(letter, "").partition(" ")[0]
            letters[_UNSPACED.get(script, "")] += 1
    every = letters.total()
    script, count = max(
        ((name, own) for name, own in letters.items() if name),
        key=lambda each: each[1],
        default=("", 0),
    )
    return script if every and count > _SHARE * every and every > _LETTERS * words else None


_LETTERS = 3
"""Letters of a word, on average, from which on words are taken to be whole clauses."""
