"""The note on a sweep's run, which MLflow shows on top of it as markdown."""

from sweeps.board.leaderboard import markdown
from sweeps.board.view import Links
from sweeps.pages import summary
from sweeps.pages.facts import Facts

REPORT = "report.html"
"""Artifact of the sweep's run."""
_METRICS = 3
"""Beside the objective; the page has no room for more."""


def note(facts: Facts, links: Links) -> str:
    """Return the verdict first, because MLflow folds the rest: links, cost, the leaderboard."""
    pages = [("leaderboard", links.leaderboard), ("charts", links.charts)]
    pages += [("captions side by side", links.predictions)]
    pages += [("registered model", links.model)] if links.model else []
    listed = " · ".join(f"[{title}]({address})" for title, address in pages)
    head = [
        f"**{summary.headline(facts)}**",
        f"{listed} · the report and the plots are among the artifacts (`{REPORT}`)",
        f"cost: {summary.cost(facts)}",
    ]
    return "\n\n".join([*head, markdown(facts.board, _METRICS)])
