"""Draws best-so-far curves as a small SVG, by hand: no plotting library is needed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 760, 420
FLOOR = 0.9
"""The axis begins at this value; what lies below is drawn at its foot."""
LEFT, RIGHT, TOP, BOTTOM = 60, 215, 20, 50
COLOURS = ("#8a8a8a", "#d08a00", "#0072b2", "#b03060", "#009e73", "#5b4bb7")


@dataclass(frozen=True, kw_only=True)
class Band:
    """One curve: the mean over seeds after each epoch, and its interval."""

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def band(histories: NDArray[np.float64], resamples: int = 500) -> Band:
    """Return the mean of (seeds, epochs) with the 95 % bootstrap interval of that mean."""
    random = np.random.default_rng(0)
    chosen = random.integers(len(histories), size=(resamples, len(histories)))
    means = np.stack([histories[rows].mean(axis=0) for rows in chosen])
    low, high = np.percentile(means, (2.5, 97.5), axis=0)
    return Band(mean=histories.mean(axis=0), low=low, high=high)


def svg(bands: Mapping[str, Band], goal: float, y_label: str) -> str:
    """Return the figure; the dashed line is at `goal`. No value is above 1."""
    epochs = max(len(band.mean) for band in bands.values())
    parts = [*_axes(epochs, y_label), _line([(0, goal), (epochs, goal)], epochs, "#444", "4 4")]
    for index, (name, one) in enumerate(bands.items()):
        parts += _curve(one, epochs, COLOURS[index])
        parts += _legend(name, index)
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n{body}\n</svg>\n'
    )


def _place(x: float, y: float, epochs: int) -> tuple[float, float]:
    """Return the pixel of an epoch and a value."""
    across = LEFT + x / epochs * (WIDTH - LEFT - RIGHT)
    down = TOP + min(1.0, (1 - y) / (1 - FLOOR)) * (HEIGHT - TOP - BOTTOM)
    return round(across, 1), round(down, 1)


def _path(points: list[tuple[float, float]], epochs: int) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in (_place(*point, epochs) for point in points))


def _line(points: list[tuple[float, float]], epochs: int, colour: str, dashes: str = "") -> str:
    return (
        f'<polyline points="{_path(points, epochs)}" fill="none" stroke="{colour}" '
        f'stroke-width="1.6" stroke-dasharray="{dashes}"/>'
    )


def _curve(one: Band, epochs: int, colour: str) -> Iterator[str]:
    steps = range(1, len(one.mean) + 1)
    upper, lower = zip(steps, one.high, strict=True), zip(steps, one.low, strict=True)
    outline = _path([*upper, *reversed(list(lower))], epochs)
    yield f'<polygon points="{outline}" fill="{colour}" fill-opacity="0.18"/>'
    yield _line(list(zip(steps, one.mean, strict=True)), epochs, colour)


def _axes(epochs: int, y_label: str) -> Iterator[str]:
    yield _line([(0, 1), (0, FLOOR), (epochs, FLOOR)], epochs, "#000")
    for tick in range(0, epochs + 1, 30):
        x, y = _place(tick, FLOOR, epochs)
        yield f'<text x="{x}" y="{y + 16}" text-anchor="middle">{tick}</text>'
    for percent in range(round(FLOOR * 100), 101, 2):
        x, y = _place(0, percent / 100, epochs)
        yield f'<text x="{x - 6}" y="{y + 4}" text-anchor="end">{percent} %</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">epochs spent</text>'
    turned = f"rotate(-90 14 {HEIGHT / 2})"
    yield (
        f'<text x="14" y="{HEIGHT / 2}" text-anchor="middle" transform="{turned}">{y_label}</text>'
    )


def _legend(name: str, index: int) -> Iterator[str]:
    x, y = WIDTH - RIGHT + 16, TOP + 14 + index * 20
    yield f'<rect x="{x}" y="{y - 9}" width="14" height="8" fill="{COLOURS[index]}"/>'
    yield f'<text x="{x + 20}" y="{y}">{name}</text>'
