"""The Pareto front of several objectives: a panel per further one, the leading one upward."""

from collections.abc import Mapping

from sweeps.board.leaderboard import Entry, Leaderboard
from sweeps.pages import svg
from sweeps.pages.scales import of_values, short
from sweeps.spec.objectives import Objective


def draw(board: Leaderboard, colours: Mapping[str, str]) -> str:
    """Draw all trials with numbers, those of the front filled and named."""
    found = [entry for entry in board.entries if board.values(entry)]
    panels = [_panel(board, objective, found) for objective in board.further]
    drawn = [
        svg.element(
            "g", panel.axes(), *(_mark(panel, board, objective, each, colours) for each in found),
            transform=f"translate({number * panel.width} 0)",
        )
        for number, (panel, objective) in enumerate(zip(panels, board.further, strict=True))
    ]  # fmt: skip
    title = f"Pareto front: {len(board.front)} of {len(found)} trials with a score"
    return svg.drawing(sum(each.width for each in panels), panels[0].height, title, *drawn)


def _panel(board: Leaderboard, objective: Objective, found: list[Entry]) -> svg.Panel:
    across = [entry.best[objective.metric] for entry in found]
    up = [entry.best[board.objective] for entry in found]
    return svg.Panel(
        across=of_values(f"{objective.metric} ({objective.mode})", across),
        up=of_values(f"{board.objective} ({board.mode})", up), width=400, height=280,
    )  # fmt: skip


def _mark(
    panel: svg.Panel,
    board: Leaderboard,
    objective: Objective,
    entry: Entry,
    colours: Mapping[str, str],
) -> str:
    at = panel.point(entry.best[objective.metric], entry.best[board.objective])
    if at is None:  # endless, which is nowhere on a scale
        return ""
    values = ", ".join(
        f"{each.metric} {short(value)}"
        for each, value in zip(board.objectives, board.values(entry), strict=True)
    )
    said = f"{entry.trial}: {values}"
    if entry not in board.front:
        return svg.mark(entry.trial, said, svg.dot(at, svg.OTHER, 3))
    name = svg.label((at[0] + 7, at[1] - 5), entry.trial.rpartition("-")[2])
    return svg.mark(entry.trial, said, svg.dot(at, colours[entry.trial], 5), name)
