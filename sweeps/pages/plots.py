"""The plots of a sweep: what each shows, and when there is nothing to show."""

from collections.abc import Iterator
from dataclasses import dataclass

from sweeps.pages import contour, curves, front, importance, parallel
from sweeps.pages.facts import Facts
from sweeps.pages.scales import of_values


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One picture."""

    name: str
    """Of its file, without the ending."""
    content: str | bytes
    """SVG as text, or a PNG."""


def lessons(facts: Facts) -> Iterator[Plot]:
    """Yield what MLflow cannot draw by itself; nothing of what cannot be told yet."""
    if any(facts.shares.values()):
        yield Plot(name="importance", content=importance.draw(facts.shares))
    surface = contour.draw(facts.scales, facts.points, facts.values, facts.board.objectives[0])
    if surface:
        yield Plot(name="contour", content=surface)
    if facts.board.further and facts.board.front:
        yield Plot(name="front", content=front.draw(facts.board, facts.colours))


def search(facts: Facts) -> str | None:
    """Return the parallel coordinates; None before a trial has a score."""
    fields = {path: facts.scales[path] for path in facts.sweep.search.space}
    values = facts.values
    rows = {
        trial: [*(facts.points[trial].get(path) for path in fields), value]
        for trial, value in values.items()
        if trial in facts.points
    }
    if not rows:
        return None
    title = f"{facts.board.objective} ({facts.board.mode})"
    return parallel.draw(
        [*fields.values(), of_values(title, list(values.values()))], rows, facts.colours
    )


def all_curves(facts: Facts) -> dict[str, str]:
    """Return metric -> its curves, the objective first."""
    return {
        key: curves.draw(key, lines, facts.colours, facts.base)
        for key, lines in facts.curves.items()
    }
