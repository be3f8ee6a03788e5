"""Comparison of texts, for several metrics."""

from collections.abc import Sequence


def plain(text: str) -> str:
    """Return the text in lower case and with single spaces."""
    return " ".join(text.lower().split())


def edits(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the fewest insertions, deletions and substitutions (Levenshtein 1966).

    Of characters for two texts, of words for two lists of words. A whole column of the table is
    kept in the bits of two numbers (Hyyro 2003), so that long texts take little memory.
    """
    if not one:
        return len(other)
    places, top, full = _places(one), 1 << (len(one) - 1), (1 << len(one)) - 1
    up, down, distance = full, 0, len(one)
    for item in other:
        here = places.get(item, 0) | down
        diagonal = ((((here & up) + up) ^ up) | here) & full
        more, less = down | (full & ~(diagonal | up)), diagonal & up
        distance += bool(more & top) - bool(less & top)
        more, less = (more << 1) | 1, less << 1
        up, down = (less | ~(diagonal | more)) & full, more & diagonal
    return distance


def common(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the length of the longest common subsequence, of characters or of words.

    Bit by bit like `edits` (Hyyro 2004).
    """
    places, full = _places(one), (1 << len(one)) - 1
    row = full
    for item in other:
        hits = row & places.get(item, 0)
        row = ((row + hits) | (row - hits)) & full
    return len(one) - row.bit_count()


def _places(items: Sequence[str]) -> dict[str, int]:
    """Return for each item a number whose bits are its places."""
    places: dict[str, int] = {}
    for place, item in enumerate(items):
        places[item] = places.get(item, 0) | 1 << place
    return places
