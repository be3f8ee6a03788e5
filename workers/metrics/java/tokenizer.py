"""The tokenization of the COCO evaluation: Stanford's PTB tokenizer, lower case, no punctuation.

Starting its Java takes longer than tokenizing some hundred captions, so this process remembers
the words that it has seen, see `vocabulary`; only captions with others are tokenized by Java.
"""

import re
from collections.abc import Mapping, Sequence

from workers.metrics.java import ptb
from workers.metrics.java.vocabulary import Vocabulary

# The tokenizer's time grows with the square of a word's length: a minute for 50,000 emoji.
_ENDLESS = re.compile(r"(\S{1000})(?=\S)")

Captions = Mapping[str, Sequence[str]]

_vocabulary = Vocabulary()


def tokenize_each(several: Sequence[Captions]) -> list[dict[str, list[str]]]:
    """Return sets of captions as tokens joined by single spaces, same images, same order.

    A caption without words becomes the empty string, and what goes on for more than 1000
    characters without white space is taken apart. New words of all sets take one run of Java; sets
    with captions that are not made of known words take one more run, whole and all together: what
    becomes of such a caption depends a little on the next one.

    Raises `workers.metrics.java.runtime.JavaMissingError`, and RuntimeError when the tokenizer
    fails.
    """
    sets = [[_one_line(text) for own in captions.values() for text in own] for captions in several]
    _vocabulary.learn(line for lines in sets for line in lines)
    known = [_vocabulary.tokens(lines) for lines in sets]
    odd = [lines for lines, tokens in zip(sets, known, strict=True) if tokens is None]
    found = iter(ptb.tokens(odd))
    return [
        _by_image(captions, next(found) if tokens is None else tokens)
        for captions, tokens in zip(several, known, strict=True)
    ]


def _by_image(captions: Captions, tokens: Sequence[str]) -> dict[str, list[str]]:
    each = iter(tokens)
    return {image: [next(each) for _ in own] for image, own in captions.items()}


def _one_line(caption: str) -> str:
    return _ENDLESS.sub(r"\1 ", " ".join(caption.split()))
