"""A sweep in sentences, and the note on its run, which MLflow shows on top of it as markdown."""

from sweeps.board.leaderboard import Leaderboard, describe_tied, format_score, markdown, no_winner
from sweeps.board.view import Links
from sweeps.pages.facts import Facts

REPORT = "report.html"
"""Artifact of the sweep's run."""
_METRICS = 3
"""Columns beside the objective; the page has no room for more."""
_OPEN = {
    "running": "still runs",
    "interrupted": "was stopped and can be resumed",
    "failed": "failed",
}
"""State of a sweep that did not complete -> its words."""


def headline(facts: Facts) -> str:
    """Return who leads by how much."""
    board, winner = facts.board, facts.board.winner
    state = f" (the sweep {_OPEN[facts.state]})" if facts.state in _OPEN else ""
    if winner is None:
        return f"{no_winner(board)}{state}"
    standing, base = board.standings.get(winner.name), board.zero_shot
    interval = f" (95 % interval {standing.interval})" if standing else ""
    before = "" if base is None else f"; the base before training {format_score(base)}"
    verb = "leads" if facts.state in _OPEN else "wins"
    score = f"{board.objective} {format_score(winner.score)}"
    return f"{winner.title} {verb} with {score}{interval}{before}{state}"


def sentences(board: Leaderboard) -> list[str]:
    """Return the rest in sentences: the trials that are tied, the front, the board's notes."""
    front = f"the Pareto front has {len(board.front)} of {len(board.trials)} trials"
    found = [describe_tied(board), front if board.further else None, *board.notes]
    return [sentence for sentence in found if sentence]


def note(facts: Facts, links: Links) -> str:
    """Return the note: the headline first, because MLflow folds the rest."""
    pages = {
        "leaderboard": links.leaderboard,
        "charts": links.charts,
        "captions side by side": links.predictions,
        "registered model": links.model,
    }
    listed = " · ".join(f"[{title}]({address})" for title, address in pages.items() if address)
    head = [
        f"**{headline(facts)}**",
        f"{listed} · the report and the plots are among the artifacts (`{REPORT}`)",
        f"cost: {', '.join(f'{name} {value}' for name, value in facts.cost.items())}",
    ]
    return "\n\n".join([*head, markdown(facts.board, _METRICS)])
