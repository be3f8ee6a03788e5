"""A sweep in sentences: who won, how sure that is, what it cost."""

from sweeps.board.leaderboard import Leaderboard, no_winner, number, verdict
from sweeps.pages.facts import Facts

_OPEN = {"running": "still runs", "interrupted": "was stopped and can go on", "failed": "failed"}
"""State of a sweep that has not ended well -> what is said of it."""


def headline(facts: Facts) -> str:
    """Return who leads by how much."""
    board, winner = facts.board, facts.board.winner
    if winner is None:
        return f"{no_winner(board)}{_state(facts)}"
    standing = board.standings.get(winner.name)
    interval = f" (95 % interval {standing.interval})" if standing else ""
    base = (
        "" if board.zero_shot is None else f"; the base before training {number(board.zero_shot)}"
    )
    verb = "leads" if facts.state in _OPEN else "wins"
    score = f"{board.objective} {number(winner.score)}"
    return f"{winner.title} {verb} with {score}{interval}{base}{_state(facts)}"


def sentences(board: Leaderboard) -> list[str]:
    """Return what else there is to say: who is as good, the budget, the grace."""
    said = verdict(board)
    front = f"the Pareto front has {len(board.front)} of {len(board.trials)} trials"
    return [*([said] if said else []), *([front] if board.further else []), *board.remarks]


def cost(facts: Facts) -> str:
    """Return what the sweep has cost in a line."""
    return ", ".join(f"{name} {said}" for name, said in facts.cost.lines.items())


def _state(facts: Facts) -> str:
    return f" (the sweep {_OPEN[facts.state]})" if facts.state in _OPEN else ""
