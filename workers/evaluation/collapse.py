"""Recognises a collapsed trial by what it writes: pure functions over captions.

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
    """Say in words and numbers what is wrong with the captions; nothing for healthy ones.

    Args:
        captions: one per image.
        references: those of each image, in the same order.
        guard: thresholds; a symptom whose threshold is None is not looked for.
    """
    pairs = zip(captions, references, strict=True)
    wrong = [pair for pair in pairs if plain(pair[0]) not in map(plain, pair[1])]
    texts, count = [plain(caption) for caption, _ in wrong], len(captions)
    return (
        *_same_caption(texts, count, guard.same_caption),
        *_repetition(wrong, count, guard.repetition),
        *_empty(texts, count, guard.empty),
    )


def not_finite(name: str, loss: float) -> tuple[str, ...]:
    """Say that a loss is infinite or NaN; nothing for a finite one."""
    return () if math.isfinite(loss) else (f"{name} is {loss}",)


def _same_caption(texts: Sequence[str], count: int, threshold: float | None) -> tuple[str, ...]:
    """Look for one caption that (nearly) all images got; empty ones are `_empty`'s."""
    commonest = Counter(filter(None, texts)).most_common(1)
    if threshold is None or count < FEWEST_IMAGES or not commonest:
        return ()
    ((text, images),) = commonest
    if images < threshold * count:
        return ()
    return (f"{_percent(images / count)} of {count} images got the same caption {_quoted(text)}",)


def _repetition(
    wrong: Sequence[tuple[str, Sequence[str]]], count: int, threshold: float | None
) -> tuple[str, ...]:
    """Look for captions that go round in circles."""
    excess = [(_excess(caption, references), caption) for caption, references in wrong]
    mean = sum(share for share, _ in excess) / count if count else 0.0
    if threshold is None or mean < threshold:
        return ()
    _, worst = max(excess)
    return (
        f"on average {_percent(mean)} of a caption's {WORDS}-grams are repeats, "
        f"as in {_quoted(worst)}",
    )


def _empty(texts: Sequence[str], count: int, threshold: float | None) -> tuple[str, ...]:
    """Look for images that got no caption."""
    images = texts.count("")
    if threshold is None or not images or images < threshold * count:
        return ()
    return (f"{_percent(images / count)} of {count} images got an empty caption",)


def _excess(caption: str, references: Sequence[str]) -> float:
    usual = max(map(repeated, references), default=0.0)
    return max(0.0, repeated(caption) - usual)


def _percent(share: float) -> str:
    return f"{100.0 * share:.0f} %"


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
