"""How many rows each slot has in one forward pass."""

from collections.abc import Sequence

OVERHEAD_ROWS = 16
"""What a pass costs however many rows it has, as rows: launches, and reading the weights."""


def micro_batch(remaining: Sequence[int], most: int) -> int:
    """Return the rows per slot that do the most work in a given time.

    All slots get equally many, so that their layers are one batched product. A slot with fewer
    rows left before its next optimizer step than that is filled up with rows that count nothing; a
    slot with more goes on in the next pass. A pass of m rows for each of k slots costs about
    `OVERHEAD_ROWS` + k m.

    Args:
        remaining: rows of each slot before its next optimizer step.
        most: largest number of rows per slot that memory allows.
    """
    sizes = sorted({min(rows, most) for rows in remaining})

    def worth(size: int) -> float:
        useful = sum(min(rows, size) for rows in remaining)
        return useful / (OVERHEAD_ROWS + len(remaining) * size)

    return max(sizes, key=worth)
