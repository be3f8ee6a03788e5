"""The plots of a sweep, and when there is nothing to plot."""

from collections.abc import Mapping
from io import BytesIO
from itertools import combinations
from typing import Any

from sweeps.board.leaderboard import Leaderboard
from sweeps.pages import svg
from sweeps.pages.facts import Curve, Facts
from sweeps.pages.scales import Choices, Scale, format_value, is_number, scale_of_values
from sweeps.spec.objectives import LOSS, Objective

_OUTLIER = 1.5
"""A loss above so many times that of the base is off the scale: it would flatten all others."""
_STEP, _SIDE, _TOP, _HEIGHT = 150, 70, 34, 260  # pixels of the parallel coordinates
_UNSET = -0.09
"""Place on an axis of a field that a trial does not have."""
_NAMES, _BAR, _ROW = 200, 300, 22  # pixels of the bars
_PAIRED_FIELDS = 3
"""Number of fields, the most important ones, of which all pairs have contours."""
_PANEL = 4.2  # inches of contours
_GREY = "#808080"  # readable on light and on dark pages


def artifacts(facts: Facts) -> dict[str, str | bytes]:
    """Return what MLflow cannot draw by itself: name -> SVG as text, or a PNG."""
    objective = facts.board.objectives[0]
    drawn = {
        "importance": _importance(facts.importances) if any(facts.importances.values()) else None,
        "contour": contours(facts.scales, facts.points, facts.values, objective),
        "front": _front(facts.board, facts.colours) if facts.board.further else None,
    }
    return {name: content for name, content in drawn.items() if content}


def parallel_coordinates(facts: Facts) -> str | None:
    """Return a line per trial from its point to its objective; None before a trial has a score."""
    fields, values = facts.sweep.search.space, facts.values
    rows = {
        trial: [*(facts.points[trial].get(path) for path in fields), value]
        for trial, value in values.items()
        if trial in facts.points
    }
    if not rows:
        return None
    objective = f"{facts.board.objective} ({facts.board.mode})"
    scales = facts.scales
    axes = [*(scales[path] for path in fields), scale_of_values(objective, list(values.values()))]
    unset = any(value is None for row in rows.values() for value in row)

    def x(axis: int) -> float:
        return _SIDE + axis * _STEP

    def y(place: float | None) -> float:
        return _TOP + (1 - (_UNSET if place is None else place)) * _HEIGHT

    drawn = []
    for trial, colour in reversed(facts.colours.items()):
        if trial not in rows:
            continue
        pairs = list(zip(axes, rows[trial], strict=True))
        points = [(x(axis), y(scale.place(value))) for axis, (scale, value) in enumerate(pairs)]
        texts = [f"{scale.title} {'not set' if value is None else value}" for scale, value in pairs]
        drawn.append(svg.mark(trial, f"{trial}: {', '.join(texts)}", svg.line(points, colour)))
    for axis, scale in enumerate(axes):
        left = x(axis)
        # Below each other in turns: long names of neighbouring fields would overlap.
        at = (left, 12 + 13 * (axis % 2))
        ticks = [*scale.ticks(), *([(_UNSET, "not set")] if unset else [])]
        drawn += [
            svg.element("line", x1=left, x2=left, y1=y(0), y2=y(1), stroke=svg.INK),
            svg.label(at, scale.title, text_anchor="middle", font_weight=600),
            *(
                svg.label((left - 6, y(place) + 4), text, text_anchor="end", **svg.HALO)
                for place, text in ticks
            ),
        ]
    width = 2 * _SIDE + _STEP * max(1, len(axes) - 1)
    title = f"{len(rows)} trials, each a line from its parameters to {objective}"
    return svg.drawing(width, _TOP + _HEIGHT + (40 if unset else 16), title, *drawn)


def curves(facts: Facts) -> dict[str, str]:
    """Return metric as reported -> its curves over the rungs, the objective first."""
    return {key: _curves(key, lines, facts) for key, lines in facts.curves.items()}


def _curves(key: str, lines: Mapping[str, Curve], facts: Facts) -> str:
    """Draw the curves of one metric, the best trials on top, and the base as a dashed line."""
    base = facts.base.get(key)
    values = [value for line in lines.values() for _, value in line]
    rungs = [rung for line in lines.values() for rung, _ in line]
    first_loss = facts.base.get(f"val/{LOSS}") if key.endswith(LOSS) else None
    ceiling = {"ceiling": _OUTLIER * first_loss} if first_loss else {}
    panel = svg.Panel(
        across=scale_of_values("rung", [0, *rungs]),
        up=scale_of_values(key, [*([] if base is None else [base]), *values], **ceiling),
    )
    drawn = [panel.axes()]
    if ends := panel.points([(0, base), (max(rungs), base)]):
        title = svg.element("title", f"the base before training: {base:.4f}")
        drawn.append(svg.element("g", title, svg.line(ends, svg.INK, stroke_dasharray="2 4")))
    for trial, colour in reversed(facts.colours.items()):
        points = panel.points(lines.get(trial, ()))
        if points:  # else there is no value, or none that is a number
            rung, value = lines[trial][-1]
            title = f"{trial}: {value:.4f} at rung {rung}"
            end = svg.dot(points[-1], colour, 2.5)
            drawn.append(svg.mark(trial, title, svg.line(points, colour), end))
    title = f"{key} of {len(lines)} trials over the rungs"
    return svg.drawing(panel.width, panel.height, title, *drawn)


def _front(board: Leaderboard, colours: Mapping[str, str]) -> str | None:
    """Draw all trials with numbers, named on the front: a panel per further objective."""
    if not board.front:
        return None
    found = [trial for trial in board.trials if trial.values]
    up = scale_of_values(f"{board.objective} ({board.mode})", [trial.values[0] for trial in found])
    panels = []
    for number, objective in enumerate(board.further, 1):
        numbers = [trial.values[number] for trial in found]
        across = scale_of_values(f"{objective.metric} ({objective.mode})", numbers)
        panel = svg.Panel(across=across, up=up, width=400, height=280)
        marks = []
        for trial in found:
            at = panel.point(trial.values[number], trial.values[0])
            if at is None:  # infinite, which is nowhere on a scale
                continue
            pairs = zip(board.objectives, trial.values, strict=True)
            values = ", ".join(f"{each.metric} {format_value(value)}" for each, value in pairs)
            shown = [svg.dot(at, svg.OTHER, 3)]
            if trial in board.front:
                label = svg.label((at[0] + 7, at[1] - 5), trial.name.rpartition("-")[2])
                shown = [svg.dot(at, colours[trial.name], 5), label]
            marks.append(svg.mark(trial.name, f"{trial.name}: {values}", *shown))
        shift = f"translate({(number - 1) * panel.width} 0)"
        panels.append(svg.element("g", panel.axes(), *marks, transform=shift))
    title = f"Pareto front: {len(board.front)} of {len(found)} trials with a score"
    return svg.drawing(panel.width * len(panels), panel.height, title, *panels)


def contours(
    scales: Mapping[str, Scale],
    points: Mapping[str, Mapping[str, Any]],
    values: Mapping[str, float],
    objective: Objective,
) -> bytes | None:
    """Return a PNG of the objective over pairs of fields; None where there is no pair or trial.

    Surfaces are drawn between numbers only, by linear interpolation between the trials, and
    nothing is made up outside of them. Fields of words show the trials alone. `scales` (by field)
    has the most important first; `points` are trial -> field -> value, `values` trial -> objective.
    """
    import numpy as np
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    pairs: list[tuple[Scale, Scale, dict[tuple[float, float], float]]] = []
    for across, up in combinations(list(scales.values())[:_PAIRED_FIELDS], 2):
        best: dict[tuple[float, float], float] = {}  # of several trials at one place
        better = max if objective.mode == "max" else min
        for trial, value in values.items():
            point = points.get(trial, {})
            x, y = across.place(point.get(across.title)), up.place(point.get(up.title))
            if x is not None and y is not None and is_number(value):
                best[x, y] = better(value, best.get((x, y), value))
        if best:
            pairs.append((across, up, best))
    if not pairs:
        return None
    every = [value for _, _, best in pairs for value in best.values()]
    low, high = min(every), max(every)
    if high == low:
        low, high = low - 0.5, high + 0.5
    colours: dict[str, Any] = {"cmap": "viridis", "vmin": low, "vmax": high}
    figure = Figure(figsize=(_PANEL * len(pairs) + 0.8, _PANEL * 0.85), layout="constrained")
    figure.patch.set_alpha(0)
    panels = figure.subplots(1, len(pairs), squeeze=False)[0]
    for panel, (across, up, best) in zip(panels, pairs, strict=True):
        xs, ys = zip(*best, strict=True)
        zs = list(best.values())
        choices = [scale for scale in (across, up) if isinstance(scale, Choices)]
        numeric = all(is_number(value) for scale in choices for value in scale.values)
        offsets = np.array(list(best)) - next(iter(best))
        if numeric and np.linalg.matrix_rank(offsets, tol=1e-6) == 2:  # not all on one line
            panel.tricontourf(xs, ys, zs, levels=12, alpha=0.75, **colours)
        panel.set_facecolor("none")
        panel.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05))
        for axis, scale in ((panel.xaxis, across), (panel.yaxis, up)):
            # Values and names are as a person wrote them: a $ in them begins no formula.
            axis.set_ticks(*zip(*scale.ticks(), strict=True), parse_math=False)
            axis.set_label_text(scale.title, color=_GREY, parse_math=False)
        panel.tick_params(colors=_GREY)
        panel.spines[:].set_color(_GREY)
        drawn = panel.scatter(xs, ys, c=zs, edgecolors="white", linewidths=0.8, s=38, **colours)
    bar = figure.colorbar(drawn, ax=list(panels), label=f"{objective.metric} ({objective.mode})")
    bar.ax.tick_params(colors=_GREY)
    bar.ax.yaxis.label.set_color(_GREY)
    written = BytesIO()
    figure.savefig(written, format="png", dpi=110)
    return written.getvalue()


def _importance(importances: Mapping[str, float]) -> str:
    """Draw a bar per field: the share of the scores' variation that it explains."""
    drawn = []
    for number, (field, share) in enumerate(importances.items()):
        middle = _ROW * number + _ROW / 2 + 4
        size = {"width": max(1.0, share * _BAR), "height": 14, "rx": 2}
        drawn += [
            svg.element("rect", x=_NAMES, y=middle - 10, **size, fill=svg.PALETTE[0]),
            svg.label((_NAMES - 8, middle + 1), field, text_anchor="end"),
            svg.label((_NAMES + share * _BAR + 8, middle + 1), f"{share:.1%}"),
        ]
    title = "importance of each field: the share of the scores' variation that it explains"
    return svg.drawing(_NAMES + _BAR + 60, _ROW * len(importances) + 10, title, *drawn)
