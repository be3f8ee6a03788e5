"""Small drawings as SVG text: elements, a panel with axes, marks that belong to a trial.

Colours are variables of the page with values of their own behind them, so that a drawing alone
in a file looks the same. A mark carries its trial, by which the page highlights all its marks.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from sweeps.pages.scales import Scale

INK, FAINT = "var(--ink, #444)", "var(--faint, #8884)"
HALO = {"stroke": "var(--page, #fff)", "stroke_width": 3, "paint_order": "stroke"}
"""Around a text that lines pass behind."""
FONT = "font: 11px system-ui, sans-serif"
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9")
"""Colours of the best trials; distinct for the colour-blind (Okabe and Ito 2008)."""
OTHER = "#9a9a9a"
"""Colour of all other trials."""
_LEFT, _BELOW = 46, 36  # pixels beside the upward axis, and below the axis across

Point = tuple[float, float]
"""Pixels from the left and from the top."""


def element(name: str, *children: str, **attributes: object) -> str:
    """Return an element with `children`, which are SVG; ``stroke_width`` is ``stroke-width``."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{''.join(children)}</{name}>"


def label(at: Point, content: str, **attributes: object) -> str:
    """Return text, in which nothing is markup."""
    return element("text", escape(content), x=at[0], y=at[1], fill=INK, **attributes)


def drawing(width: float, height: float, title: str, *children: str) -> str:
    """Return a whole picture with a title for those who cannot see it."""
    size = {"viewBox": f"0 0 {_text(width)} {_text(height)}", "width": width}
    look = {"xmlns": "http://www.w3.org/2000/svg", "role": "img", "style": FONT}
    return element("svg", element("title", escape(title)), *children, **size, **look)


def mark(trial: str, tooltip: str, *children: str) -> str:
    """Return the mark of a trial, with a sentence that appears under the pointer."""
    title = element("title", escape(tooltip))
    return element("g", title, *children, class_="mark", data_trial=trial)


def line(points: Sequence[Point], colour: str, **attributes: object) -> str:
    """Return a line through points; a dot where there is only one."""
    if len(points) == 1:
        return dot(points[0], colour)
    path = " ".join(f"{_text(x)},{_text(y)}" for x, y in points)
    stroke = {"stroke": colour, "stroke_width": 1.6, **attributes}
    return element("polyline", points=path, fill="none", **stroke)


def dot(at: Point, colour: str, radius: float = 3.5) -> str:
    """Return a filled circle."""
    return element("circle", cx=at[0], cy=at[1], r=radius, fill=colour)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A rectangle with one scale across and one up."""

    across: Scale
    up: Scale
    width: float = 330
    height: float = 210

    def point(self, across: object, up: object) -> Point | None:
        """Return where two values meet; None when one of them is off its scale."""
        x, y = self.across.place(across), self.up.place(up)
        return None if x is None or y is None else (self._x(x), self._y(y))

    def points(self, pairs: Iterable[tuple[object, object]]) -> list[Point]:
        """Return where the pairs of values meet, without those that are off a scale."""
        return [at for pair in pairs if (at := self.point(*pair))]

    def axes(self) -> str:
        """Return both axes with their values and titles."""
        bottom, middle = self._y(0), (self._x(0) + self._x(1)) / 2
        drawn = []
        for place, text in self.up.ticks():
            y = self._y(place)
            drawn += [
                element("line", x1=self._x(0), x2=self._x(1), y1=y, y2=y, stroke=FAINT),
                label((_LEFT - 6, y + 4), text, text_anchor="end"),
            ]
        for place, text in self.across.ticks():
            drawn.append(label((self._x(place), bottom + 15), text, text_anchor="middle"))
        drawn.append(label((middle, bottom + 31), self.across.title, text_anchor="middle"))
        drawn.append(label((4, 12), self.up.title, font_weight=600))
        return "".join(drawn)

    def _x(self, place: float) -> float:
        return _LEFT + 6 + place * (self.width - _LEFT - 20)

    def _y(self, place: float) -> float:
        return 24 + (1 - place) * (self.height - 24 - _BELOW)


def colours(trials: Sequence[str]) -> dict[str, str]:
    """Return a colour for each trial, given best first: the same one in every drawing."""
    best = dict(zip(trials, PALETTE, strict=False))
    return {trial: best.get(trial, OTHER) for trial in trials}


def _text(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
