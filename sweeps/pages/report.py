"""A sweep as one HTML file that needs nothing else: no network, no server, no other file.

The template escapes all it is given; only drawings, which escape their own texts, are put in as
they are. The page forbids itself any connection.
"""

from base64 import b64encode
from importlib.resources import files
from typing import Any

from sweeps.board.leaderboard import header, row, warnings
from sweeps.board.view import Links
from sweeps.pages import plots, summary
from sweeps.pages.facts import Facts
from sweeps.pages.scales import is_number, short
from sweeps.results.keepsakes import Keepsakes
from sweeps.study.trials import TrialState


def render(facts: Facts, links: Links, kept: Keepsakes) -> str:
    """Return the report's HTML; `kept` has the pictures of its gallery."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    here = __name__.rpartition(".")[0]
    environment = Environment(
        loader=PackageLoader(here),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawn, parallel = plots.artifacts(facts), plots.parallel_coordinates(facts)
    shown = [picture.id for group in facts.gallery.groups.values() for picture in group]
    board = facts.board
    return environment.get_template("report.html.jinja").render(
        facts=facts,
        board=board,
        links=links,
        headline=summary.headline(facts),
        sentences=summary.sentences(board),
        warnings=warnings(board),
        columns=[*header(board, board.shown[1:]), *facts.sweep.search.space],
        rows=[(trial.name, _cells(facts, trial)) for trial in board.trials],
        colours=facts.colours,
        curves={key: Markup(svg) for key, svg in plots.curves(facts).items()},
        parallel=Markup(parallel) if parallel else None,
        drawn={n: Markup(each) for n, each in drawn.items() if isinstance(each, str)},
        pictures={n: _data(each, "png") for n, each in drawn.items() if isinstance(each, bytes)},
        images={
            id: _data(kept.pictures[id].read_bytes(), "jpeg") for id in shown if id in kept.pictures
        },
        dot=Markup(".<wbr>"),
        styles=Markup((files(here) / "templates/report.css").read_text("utf-8")),
        script=Markup((files(here) / "templates/report.js").read_text("utf-8")),
    )


def _cells(facts: Facts, trial: TrialState) -> list[tuple[str, Any]]:
    """Return (text, sort key) of the cells of a trial, with a column for each field of its point.

    The name replaces the title, which repeats the point.
    """
    metrics = facts.board.shown[1:]
    names, texts = header(facts.board, metrics)[1:], row(facts.board, trial, metrics)[1:]
    standing = facts.board.standings.get(trial.name)
    low = standing.low if standing else None
    keys = {**trial.best, "95 % interval": low, "rung": trial.best_rung}
    cells: list[tuple[str, Any]] = [(trial.name, trial.name)]
    cells += [(text, keys.get(name, text)) for name, text in zip(names, texts, strict=True)]
    for path in facts.sweep.search.space:
        value = facts.points.get(trial.name, {}).get(path)
        text = "" if value is None else short(value)
        cells.append((text, value if is_number(value) else "" if value is None else str(value)))
    return cells


def _data(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{b64encode(content).decode()}"
