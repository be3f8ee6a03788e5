"""Contours of the objective over pairs of swept fields, as a picture.

Surfaces are drawn between numbers only, by linear interpolation between the trials, and nothing
is made up outside of them. Fields of words show the trials alone.
"""

from collections.abc import Collection, Mapping
from io import BytesIO
from itertools import combinations
from typing import Any

from sweeps.pages.scales import Choices, Scale, is_number
from sweeps.spec.objectives import Objective

FIELDS = 3
"""Number of fields, the most important ones, of which all pairs are drawn."""
_GREY = "#808080"  # readable on light and on dark pages
_SIDE = 4.2  # inches of a panel


def draw(
    scales: Mapping[str, Scale],
    points: Mapping[str, Mapping[str, Any]],
    values: Mapping[str, float],
    objective: Objective,
) -> bytes | None:
    """Return a PNG with a panel per pair of fields; None where there is no pair or no trial.

    Args:
        scales: field -> its scale, the most important field first.
        points: trial -> field -> value.
        values: trial -> its objective; trials without one are left out.
        objective: what they are, and which way is better.
    """
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    pairs: list[tuple[Scale, Scale, dict[tuple[float, float], float]]] = []
    for across, up in combinations(list(scales.values())[:FIELDS], 2):
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

    figure = Figure(figsize=(_SIDE * len(pairs) + 0.8, _SIDE * 0.85), layout="constrained")
    figure.patch.set_alpha(0)
    panels = figure.subplots(1, len(pairs), squeeze=False)[0]
    for panel, (across, up, best) in zip(panels, pairs, strict=True):
        xs, ys = zip(*best, strict=True)
        zs = list(best.values())
        if not (_has_words(across) or _has_words(up)) and _span_a_surface(best):
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


def _has_words(scale: Scale) -> bool:
    return isinstance(scale, Choices) and not all(map(is_number, scale.values))


def _span_a_surface(places: Collection[tuple[float, float]]) -> bool:
    """Tell whether there are three places that are not on one line."""
    import numpy as np

    spread = np.array(list(places)) - next(iter(places))
    return bool(np.linalg.matrix_rank(spread, tol=1e-6) == 2)
