"""Parallel coordinates: a line per trial, from its point to its objective."""

from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.pages import svg
from sweeps.pages.scales import Scale

_STEP, _SIDE, _TOP, _HEIGHT = 150, 70, 34, 260  # pixels
_UNSET = -0.09
"""Place of a field that a trial does not have."""


def draw(
    scales: Sequence[Scale],
    rows: Mapping[str, Sequence[Any]],
    colours: Mapping[str, str],
) -> str:
    """Draw the trials that have a score, the best ones on top.

    Args:
        scales: one for each swept field, and the objective's as the last one.
        rows: trial -> its values by `scales`; None for a field that it does not have.
        colours: trial -> its colour, best trial first.
    """
    unset = any(value is None for row in rows.values() for value in row)
    ordered = [trial for trial in reversed(list(colours)) if trial in rows]
    marks = [_mark(scales, trial, rows[trial], colours[trial]) for trial in ordered]
    axes = [_axis(number, scale, unset) for number, scale in enumerate(scales)]
    width = 2 * _SIDE + _STEP * max(1, len(scales) - 1)
    title = f"{len(ordered)} trials, each a line from its parameters to {scales[-1].title}"
    return svg.drawing(width, _TOP + _HEIGHT + (40 if unset else 16), title, *marks, *axes)


def _mark(scales: Sequence[Scale], trial: str, row: Sequence[Any], colour: str) -> str:
    places = [scale.place(value) for scale, value in zip(scales, row, strict=True)]
    points = [
        (_x(number), _y(_UNSET if place is None else place)) for number, place in enumerate(places)
    ]
    said = ", ".join(
        f"{scale.title} {'not set' if value is None else value}"
        for scale, value in zip(scales, row, strict=True)
    )
    return svg.mark(trial, f"{trial}: {said}", svg.line(points, colour))


def _axis(number: int, scale: Scale, unset: bool) -> str:
    x = _x(number)
    ticks = [*scale.ticks(), *([(_UNSET, "not set")] if unset else [])]
    stem = svg.element("line", x1=x, x2=x, y1=_y(0), y2=_y(1), stroke=svg.INK)
    # Below each other in turns: long names of neighbouring fields would overlap.
    title = svg.label(
        (x, 12 + 13 * (number % 2)), scale.title, text_anchor="middle", font_weight=600
    )
    texts = [
        svg.label((x - 6, _y(place) + 4), text, text_anchor="end", **svg.HALO)
        for place, text in ticks
    ]
    return "".join([stem, title, *texts])


def _x(number: int) -> float:
    return _SIDE + number * _STEP


def _y(place: float) -> float:
    return _TOP + (1 - place) * _HEIGHT
