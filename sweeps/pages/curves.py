"""Curves of every metric over the rungs: one small drawing for each."""

from collections.abc import Mapping, Sequence

from sweeps.board.leaderboard import Leaderboard
from sweeps.pages import svg
from sweeps.pages.scales import of_values
from sweeps.spec.objectives import LOSS

Curve = Sequence[tuple[int, float]]
"""(rung, value), rung by rung."""

_OFF = 1.5
"""A loss above so many times that of the base is off the scale: it would flatten all others."""


def of(board: Leaderboard, keys: Sequence[str]) -> dict[str, dict[str, Curve]]:
    """Return the curves of the metrics `keys` from the trials' records; none without values."""
    made: dict[str, dict[str, Curve]] = {}
    for key in keys:
        lines = {
            trial.name: [(one.rung, one.metrics[key]) for one in trial.rungs if key in one.metrics]
            for trial in board.trials
        }
        made[key] = {trial: line for trial, line in lines.items() if line}
    return {key: lines for key, lines in made.items() if lines}


def draw(
    key: str,
    lines: Mapping[str, Curve],
    colours: Mapping[str, str],
    base: Mapping[str, float],
) -> str:
    """Draw the curves of one metric, the best trials on top.

    Args:
        key: the metric as reported, ``val/cider``.
        lines: trial -> its curve.
        colours: trial -> its colour, best trial first.
        base: metric as reported -> its value of the base before training, a dashed line.
    """
    panel = _panel(key, lines, base)
    ordered = [trial for trial in reversed(list(colours)) if trial in lines]
    marks = [_mark(panel, trial, lines[trial], colours[trial]) for trial in ordered]
    last = max(rung for line in lines.values() for rung, _ in line)
    return svg.drawing(
        panel.width, panel.height, f"{key} of {len(ordered)} trials over the rungs",
        panel.axes(), _base(panel, base.get(key), last), *marks,
    )  # fmt: skip


def _panel(key: str, lines: Mapping[str, Curve], base: Mapping[str, float]) -> svg.Panel:
    values = [value for line in lines.values() for _, value in line]
    rungs = [rung for line in lines.values() for rung, _ in line]
    start = base.get(f"val/{LOSS}") if key.endswith(LOSS) else None
    zero = [base[key]] if key in base else []
    ceiling = {"ceiling": _OFF * start} if start else {}
    return svg.Panel(
        across=of_values("rung", [0, *rungs]), up=of_values(key, [*zero, *values], **ceiling)
    )


def _mark(panel: svg.Panel, trial: str, line: Curve, colour: str) -> str:
    found = [at for at in (panel.point(*each) for each in line) if at]
    if not found:  # no value is a number
        return ""
    rung, value = line[-1]
    said = f"{trial}: {value:.4f} at rung {rung}"
    return svg.mark(trial, said, svg.line(found, colour), svg.dot(found[-1], colour, 2.5))


def _base(panel: svg.Panel, value: float | None, last: int) -> str:
    """Draw what the base has before training, from rung 0 to the last one."""
    found = [at for at in (panel.point(rung, value) for rung in (0, last)) if at]
    if value is None or not found:
        return ""
    said = svg.element("title", f"the base before training: {value:.4f}")
    return svg.element("g", said, svg.line(found, svg.INK, stroke_dasharray="2 4"))
