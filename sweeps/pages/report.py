"""A sweep as one HTML file that needs nothing else: no network, no server, no other file.

The template escapes all it is given; only drawings, which escape their own texts, are put in as
they are. The page forbids itself any connection.
"""

from base64 import b64encode
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from sweeps.board.leaderboard import guarded, header, row
from sweeps.board.view import Links
from sweeps.pages import plots, summary
from sweeps.pages.facts import Facts
from sweeps.pages.scales import is_number, short
from sweeps.results.pictures import ScoredImages
from sweeps.study.trials import TrialState


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of the leaderboard: what it says, and by what it is sorted."""

    text: str
    value: Any


def render(facts: Facts, links: Links, kept: ScoredImages) -> str:
    """Return the report's HTML; `kept` has the pictures of its gallery."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    here = __name__.rpartition(".")[0]
    styles, script = (
        (files(here) / "templates" / name).read_text("utf-8")
        for name in ("report.css", "report.js")
    )
    environment = Environment(
        loader=PackageLoader(here), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    drawn = {plot.name: plot.content for plot in plots.lessons(facts)}
    parallel = plots.search(facts)
    return environment.get_template("report.html.jinja").render(
        facts=facts,
        board=facts.board,
        links=links,
        headline=summary.headline(facts),
        sentences=summary.sentences(facts.board),
        faults=guarded(facts.board),
        columns=_columns(facts),
        rows=[(trial.name, _cells(facts, trial)) for trial in facts.board.trials],
        colours=facts.colours,
        curves={key: Markup(svg) for key, svg in plots.all_curves(facts).items()},
        parallel=Markup(parallel) if parallel else None,
        drawn={n: Markup(each) for n, each in drawn.items() if isinstance(each, str)},
        pictures={n: _data(each, "png") for n, each in drawn.items() if isinstance(each, bytes)},
        images={id: _data(path.read_bytes(), "jpeg") for id, path in _shown(facts, kept).items()},
        dot=Markup(".<wbr>"),
        styles=Markup(styles),
        script=Markup(script),
    )


def _columns(facts: Facts) -> list[str]:
    return [*header(facts.board, facts.board.shown[1:]), *facts.sweep.search.space]


def _cells(facts: Facts, trial: TrialState) -> list[Cell]:
    """Return the cells of a trial; its title repeats its point, which has columns of its own."""
    metrics = facts.board.shown[1:]
    names, texts = header(facts.board, metrics)[1:], row(facts.board, trial, metrics)[1:]
    standing = facts.board.standings.get(trial.name)
    low = standing.low if standing else None
    sorts = {**trial.best, "95 % interval": low, "rung": trial.best_rung}
    told = [
        Cell(text=text, value=sorts.get(name, text))
        for name, text in zip(names, texts, strict=True)
    ]
    point = facts.points.get(trial.name, {})
    drawn = [point.get(path) for path in facts.sweep.search.space]
    return [
        Cell(text=trial.name, value=trial.name),
        *told,
        *(Cell(text="" if each is None else short(each), value=_order(each)) for each in drawn),
    ]


def _order(value: Any) -> Any:
    return value if is_number(value) else "" if value is None else str(value)


def _shown(facts: Facts, kept: ScoredImages) -> dict[str, Path]:
    ids = [picture.id for group in facts.gallery.groups.values() for picture in group]
    return {id: kept.pictures[id] for id in ids if id in kept.pictures}


def _data(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{b64encode(content).decode()}"
