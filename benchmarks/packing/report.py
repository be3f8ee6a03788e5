"""The rounds as a table: what a step of one adapter costs, beside plain loops in the same round."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.ladder.report import table
from benchmarks.packing.rounds import FUSED, PLAIN

COLUMNS = ("base", "batch", "way", "CPU ms", f"by {PLAIN}", f"by {FUSED}")


def tables(results: Sequence[Mapping[str, Any]], machine: Mapping[str, str]) -> str:
    """Return Markdown. Ratios are median (smallest to largest) over the rounds."""
    described = "; ".join(f"{name} {value}" for name, value in machine.items())
    cases = dict.fromkeys((each["quantization"], each["batch"]) for each in results)
    rows = [row for case in cases for row in _rows(case, results)]
    return f"Machine: {described}.\n\n{table(COLUMNS, rows)}"


def _rows(case: tuple[str, int], results: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    ways: dict[str, list[float]] = {}
    for each in results:
        if (each["quantization"], each["batch"]) == case:
            ways.setdefault(each["way"], []).append(each["cpu"])
    return [
        [case[0], str(case[1]), way, f"{statistics.median(own) * 1000:.1f}",
         _ratio(own, ways[PLAIN]), _ratio(own, ways[FUSED])]
        for way, own in ways.items()
    ]  # fmt: skip


def _ratio(own: Sequence[float], other: Sequence[float]) -> str:
    """Return the ratios of rounds that both have; a series that was broken off has fewer."""
    each = [one / by for one, by in zip(own, other, strict=False)]
    return f"{statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f})"
