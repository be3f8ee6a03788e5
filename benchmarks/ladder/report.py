"""Results as tables: makespans, ratios of neighbours, learned quality, where the time goes."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

Result = Mapping[str, Any]
"""One run of one rung, as it is stored: see `benchmarks.ladder.results`."""
PHASES = ("start", "training", "validation loss", "generation", "scoring", "rest of epochs")


def tables(results: Sequence[Result], machine: Mapping[str, str]) -> str:
    """Return Markdown."""
    described = "; ".join(f"{name} {value}" for name, value in machine.items())
    parts = [f"Machine: {described}."]
    for asha in (False, True):
        chosen = [result for result in results if result["asha"] is asha]
        if chosen:
            kind = "asha stops trials" if asha else "no early stopping"
            count = len(chosen[0]["cider"])
            parts += [f"### {count} trials, {kind}", _makespans(chosen), _phases(chosen)]
            parts += [_quality(chosen)]
    return "\n\n".join(parts)


def ratio_to(results: Sequence[Result], rung: str, other: str, field: str) -> float | None:
    """Return the median over rounds of `field` of a rung by that of another in the same round."""
    by_round: dict[int, dict[str, float]] = {}
    for result in results:
        by_round.setdefault(result["round"], {})[result["rung"]] = result[field]
    pairs = [each for each in by_round.values() if rung in each and other in each]
    return statistics.median(each[rung] / each[other] for each in pairs) if pairs else None


def _makespans(results: Sequence[Result]) -> str:
    rows = []
    for rung in _rungs(results):
        own = _of(results, rung)
        spread = f"{min(r['makespan'] for r in own):.0f} to {max(r['makespan'] for r in own):.0f}"
        cells = [rung, str(len(own)), _median(own, "makespan"), spread, _median(own, "wall")]
        cells += [_median(own, "cpu"), f"{statistics.median(sum(r['epochs']) for r in own):.0f}"]
        cells.append(f"{statistics.median(r['load'] for r in own):.1f}")
        for field in ("makespan", "cpu"):
            found = ratio_to(results, rung, "P", field)
            cells.append("" if found is None else f"{found:.2f}")
        rows.append(cells)
    columns = ("rung", "runs", "makespan s", "from to", "until exit s", "CPU s", "epochs",
               "load before", "makespan / P", "CPU / P")  # fmt: skip
    return table(columns, rows)


def _phases(results: Sequence[Result]) -> str:
    rows = []
    for rung in _rungs(results):
        own = _of(results, rung)
        cells = [statistics.median(r["phases"].get(phase, 0.0) for r in own) for phase in PHASES]
        rows.append([rung, *(f"{cell:.0f}" if cell else "" for cell in cells)])
    return table(("seconds, all trials together", *PHASES), rows)


def _quality(results: Sequence[Result]) -> str:
    rungs = _rungs(results)
    newest = {rung: _of(results, rung)[-1] for rung in rungs}
    points = newest[rungs[0]]["points"]
    rows = [
        [*(str(value) for value in point.values()),
         *(_trial(newest[rung], number) for rung in rungs)]
        for number, point in enumerate(points)
    ]  # fmt: skip
    best = ["best", "", "", "", *(f"{max(newest[rung]['cider']):.3f}" for rung in rungs)]
    fields = [name.rsplit(".", 1)[-1].replace("_", " ") for name in points[0]]
    return table((*fields, *(f"CIDEr, loss of {rung}" for rung in rungs)), [*rows, best])


def _trial(result: Result, number: int) -> str:
    stopped = f" ({result['epochs'][number]} epochs)" if result["asha"] else ""
    return f"{result['cider'][number]:.3f}, {result['loss'][number]:.3f}{stopped}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = (columns, ["---"] * len(columns), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _rungs(results: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(result["rung"] for result in results))


def _of(results: Sequence[Result], rung: str) -> list[Result]:
    return [result for result in results if result["rung"] == rung]


def _median(results: Sequence[Result], field: str) -> str:
    return f"{statistics.median(result[field] for result in results):.0f}"
