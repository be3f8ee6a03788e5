"""What several metrics do with texts."""

from collections.abc import Sequence


def plain(text: str) -> str:
    """Return the text in lower case and with single spaces."""
    return " ".join(text.lower().split())


def edits(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the fewest insertions, deletions and substitutions (Levenshtein 1966).

    Of characters for two texts, of words for two lists of words.
    """
    row = list(range(len(other) + 1))
    for i, item in enumerate(one, start=1):
        diagonal, row[0] = row[0], i
        for j, target in enumerate(other, start=1):
            substituted = diagonal + (item != target)
            diagonal = row[j]
            row[j] = min(row[j] + 1, row[j - 1] + 1, substituted)
    return row[-1]
