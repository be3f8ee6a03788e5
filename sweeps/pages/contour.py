"""Contours of the objective over pairs of swept fields, as a picture.

Surfaces are drawn between numbers only, by linear interpolation between the trials, and nothing
is made up outside of them. Fields of words show the trials alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import combinations
from typing import TYPE_CHECKING, Any

from sweeps.pages.scales import Choices, Scale, is_number
from sweeps.spec.objectives import Objective

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIELDS = 3
"""Of so many fields, the most important ones, all pairs are drawn."""
_GREY = "#808080"  # reads on light and on dark pages
_SIDE = 4.2  # inches of a panel
_CORNERS = 3  # fewer points span no surface


@dataclass(frozen=True, kw_only=True)
class Spot:
    """A trial over two fields."""

    across: float
    up: float
    value: float


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

    pairs = [
        (pair, spots)
        for pair in combinations(list(scales.values())[:FIELDS], 2)
        if (spots := _spots(*pair, points, values, objective))
    ]
    if not pairs:
        return None
    figure = Figure(figsize=(_SIDE * len(pairs) + 0.8, _SIDE * 0.85), layout="constrained")
    figure.patch.set_alpha(0)
    panels = figure.subplots(1, len(pairs), squeeze=False)[0]
    limits = _limits([spot.value for _, spots in pairs for spot in spots])
    for panel, ((across, up), spots) in zip(panels, pairs, strict=True):
        drawn = _panel(panel, across, up, spots, limits)
    bar = figure.colorbar(drawn, ax=list(panels), label=f"{objective.metric} ({objective.mode})")
    bar.ax.tick_params(colors=_GREY)
    bar.ax.yaxis.label.set_color(_GREY)
    written = BytesIO()
    figure.savefig(written, format="png", dpi=110)
    return written.getvalue()


def _panel(
    panel: "Axes", across: Scale, up: Scale, spots: Sequence[Spot], limits: tuple[float, float]
) -> Any:
    x, y, z = ([getattr(spot, name) for spot in spots] for name in ("across", "up", "value"))
    colours: dict[str, Any] = {"cmap": "viridis", "vmin": limits[0], "vmax": limits[1]}
    words = any(isinstance(scale, Choices) and not _numbers(scale) for scale in (across, up))
    if not words and _spans(x, y):
        panel.tricontourf(x, y, z, levels=12, alpha=0.75, **colours)
    _axes(panel, across, up)
    return panel.scatter(x, y, c=z, edgecolors="white", linewidths=0.8, s=38, **colours)


def _axes(panel: "Axes", across: Scale, up: Scale) -> None:
    panel.set_facecolor("none")
    panel.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05))
    for axis, scale in ((panel.xaxis, across), (panel.yaxis, up)):
        ticks = scale.ticks()
        # Values and names are as a person wrote them: a $ in them begins no formula.
        axis.set_ticks(*zip(*ticks, strict=True), parse_math=False)
        axis.set_label_text(scale.title, color=_GREY, parse_math=False)
    panel.tick_params(colors=_GREY)
    panel.spines[:].set_color(_GREY)


def _spots(
    across: Scale, up: Scale, points: Mapping[str, Mapping[str, Any]],
    values: Mapping[str, float], objective: Objective,
) -> list[Spot]:  # fmt: skip
    """Return the trials that have both fields; of several at one place the best one."""
    best: dict[tuple[float, float], float] = {}
    better = max if objective.mode == "max" else min
    for trial, value in values.items():
        point = points.get(trial, {})
        at = (across.place(point.get(across.title)), up.place(point.get(up.title)))
        if at[0] is not None and at[1] is not None and is_number(value):
            key = (at[0], at[1])
            best[key] = better(value, best.get(key, value))
    return [Spot(across=at[0], up=at[1], value=value) for at, value in best.items()]


def _spans(x: Sequence[float], y: Sequence[float]) -> bool:
    """Tell whether the points span a surface: three of them that are not on one line."""
    import numpy as np

    spread = np.array([x, y]).T - np.array([x[0], y[0]])
    return len(x) >= _CORNERS and bool(np.linalg.matrix_rank(spread, tol=1e-6) == 2)


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _numbers(scale: Choices) -> bool:
    return all(is_number(value) for value in scale.values)
