"""How much each swept field mattered: a bar per field."""

from collections.abc import Mapping

from sweeps.pages import svg

_NAMES, _BAR, _ROW = 200, 300, 22  # pixels


def draw(shares: Mapping[str, float]) -> str:
    """Draw the shares of the scores' variation that the fields explain, largest first."""
    rows = [_row(number, field, share) for number, (field, share) in enumerate(shares.items())]
    title = "importance of each field: the share of the scores' variation that it explains"
    return svg.drawing(_NAMES + _BAR + 60, _ROW * len(rows) + 10, title, *rows)


def _row(number: int, field: str, share: float) -> str:
    middle = _ROW * number + _ROW / 2 + 4
    bar = svg.element(
        "rect", x=_NAMES, y=middle - 10, width=max(1.0, share * _BAR), height=14, rx=2,
        fill=svg.PALETTE[0],
    )  # fmt: skip
    name = svg.label((_NAMES - 8, middle + 1), field, text_anchor="end")
    value = svg.label((_NAMES + share * _BAR + 8, middle + 1), f"{share:.1%}")
    return name + bar + value
