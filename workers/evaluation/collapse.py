"""Symptoms of a collapsed trial in its captions: pure functions.

Each image is judged against its own references, for a caption that a person wrote as well is no
symptom. So a model that answers "yes" to questions of which most are answered by yes, or nothing
where nothing is to be answered, is as healthy as the references are: of same captions and empty
ones those count that are none of the image's references, and repetition counts as far as it goes
beyond that of the references.
"""

import math
from collections import Counter
from collections.abc import Sequence

from workers.metrics.repetition import WORDS, repeated
from workers.metrics.texts import plain
from workers.recipe import Guard

FEWEST_IMAGES = 8
"""Fewer images than this may have one and the same caption by chance."""
_SHOWN = 40  # characters of a caption that are quoted


def symptoms(
    captions: Sequence[str], references: Sequence[Sequence[str]], guard: Guard
) -> tuple[str, ...]:
    """Return the symptoms of the captions in words and numbers; nothing for healthy ones.

    Args:
        captions: one per image.
        references: those of each image, in the same order.
        guard: thresholds; a symptom whose threshold is None is not looked for.
    """
    found, count = [], len(captions)
    pairs = zip(captions, references, strict=True)
    wrong = [pair for pair in pairs if plain(pair[0]) not in map(plain, pair[1])]
    texts = [plain(caption) for caption, _ in wrong]
    commonest = Counter(filter(None, texts)).most_common(1)
    if guard.same_caption is not None and count >= FEWEST_IMAGES and commonest:
        ((text, images),) = commonest
        if images >= guard.same_caption * count:
            share = _percent(images / count)
            found.append(f"{share} of {count} images got the same caption {_quoted(text)}")
    excess = [(_excess(caption, own), caption) for caption, own in wrong]
    mean = sum(share for share, _ in excess) / count if count else 0.0
    if guard.repetition is not None and mean >= guard.repetition:
        found.append(
            f"on average {_percent(mean)} of a caption's {WORDS}-grams are repeats, "
            f"as in {_quoted(max(excess)[1])}"
        )
    empty = texts.count("")
    if guard.empty is not None and empty and empty >= guard.empty * count:
        found.append(f"{_percent(empty / count)} of {count} images got an empty caption")
    return tuple(found)


def not_finite(name: str, loss: float) -> tuple[str, ...]:
    """Return the symptom of a loss that is infinite or NaN; nothing for a finite one."""
    return () if math.isfinite(loss) else (f"{name} is {loss}",)


def _excess(caption: str, references: Sequence[str]) -> float:
    """Return the share of repeats beyond that of the references."""
    return max(0.0, repeated(caption) - max(map(repeated, references), default=0.0))


def _percent(share: float) -> str:
    return f"{100.0 * share:.0f} %"


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
