"""The Pareto front of several objectives: a panel per further one, the leading one upward."""

from collections.abc import Mapping

from sweeps.board.leaderboard import Leaderboard
from sweeps.pages import svg
from sweeps.pages.scales import of_values, short
from sweeps.spec.objectives import Objective
from sweeps.study.trials import TrialState


def draw(board: Leaderboard, colours: Mapping[str, str]) -> str:
    """Draw all trials with numbers, those of the front filled and named."""
    found = [trial for trial in board.trials if trial.values]
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


def _panel(board: Leaderboard, objective: Objective, found: list[TrialState]) -> svg.Panel:
    place = board.objectives.index(objective)
    across = [trial.values[place] for trial in found]
    up = [trial.values[0] for trial in found]
    return svg.Panel(
        across=of_values(f"{objective.metric} ({objective.mode})", across),
        up=of_values(f"{board.objective} ({board.mode})", up), width=400, height=280,
    )  # fmt: skip


def _mark(
    panel: svg.Panel,
    board: Leaderboard,
    objective: Objective,
    trial: TrialState,
    colours: Mapping[str, str],
) -> str:
    at = panel.point(trial.values[board.objectives.index(objective)], trial.values[0])
    if at is None:  # endless, which is nowhere on a scale
        return ""
    values = ", ".join(
        f"{each.metric} {short(value)}"
        for each, value in zip(board.objectives, trial.values, strict=True)
    )
    said = f"{trial.name}: {values}"
    if trial not in board.front:
        return svg.mark(trial.name, said, svg.dot(at, svg.OTHER, 3))
    name = svg.label((at[0] + 7, at[1] - 5), trial.name.rpartition("-")[2])
    return svg.mark(trial.name, said, svg.dot(at, colours[trial.name], 5), name)
