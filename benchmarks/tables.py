"""Numbers as they are printed: Markdown tables, and the largest difference of two results."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np


class Scores(Protocol):
    """What both ways of scoring yield."""

    @property
    def corpus(self) -> Mapping[str, float]:
        """Output -> value over all images."""

    @property
    def images(self) -> Mapping[str, Any]:
        """Output -> value of each image (images,)."""


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    print("\n".join(table_lines(columns, rows)))


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return [f"| {' | '.join(line)} |" for line in (columns, ["---"] * len(columns), *rows)]


def corpus_difference(one: Scores, other: Scores) -> float:
    """Return the largest absolute difference of all outputs."""
    return max(abs(value - other.corpus[output]) for output, value in one.corpus.items())


def image_difference(one: Scores, other: Scores) -> float:
    """Return the largest absolute difference of all outputs and images."""
    return max(largest(values, other.images[output]) for output, values in one.images.items())


def largest(one: Any, other: Any) -> float:
    """Return the largest absolute difference of two arrays; NaN if there is one in them."""
    return float(np.max(np.abs(np.asarray(one) - np.asarray(other))))
