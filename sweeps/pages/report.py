"""A sweep as one HTML file that needs nothing else, and its pages in MLflow.

The template escapes all it is given; only drawings, which escape their own texts, are put in as
they are. The page forbids itself any connection.
"""

from base64 import b64encode
from importlib.resources import files
from io import BytesIO
from typing import Any

from PIL import Image
from rich.console import Console

from sweeps.board.leaderboard import Leaderboard, header, row, warnings
from sweeps.board.view import Links, sweep_links
from sweeps.pages import plots, summary
from sweeps.pages.facts import Facts, gather
from sweeps.pages.scales import format_value, is_number
from sweeps.results import pictures
from sweeps.results.folder import SweepFolder
from sweeps.results.pictures import ScoredImages
from sweeps.spec.load import Sweep
from sweeps.study.trials import TrialState
from sweeps.tracking.client import set_tags
from sweeps.tracking.sweep_run import NOTE, SweepRun
from workers.redaction import redact

_WITHIN_THE_UI = ""
"""Base of links within MLflow's UI, wherever that is served."""


def publish(
    sweep: Sweep, folder: SweepFolder, parent: SweepRun, board: Leaderboard, console: Console
) -> None:
    """Write note, plots and report of a sweep to its run, in place of earlier ones.

    They show what is kept anyway: if one of them cannot be made, the sweep ends as it would have,
    and the console says why.
    """
    client, run_id = parent.client, parent.run_id
    try:
        facts = gather(sweep, folder, parent, board)
        text = summary.note(facts, _links(facts, parent, _WITHIN_THE_UI))
        set_tags(client, run_id, {NOTE: redact(text)})
        for name, content in plots.artifacts(facts).items():
            if isinstance(content, str):
                client.log_text(run_id, content, f"plots/{name}.svg")
            else:
                picture = Image.open(BytesIO(content), formats=("PNG",))
                client.log_image(run_id, picture, artifact_file=f"plots/{name}.png")
        client.log_text(run_id, html(facts, folder, parent), summary.REPORT)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        text = f"warning: no report of {folder.sweep_id} in MLflow: {reason}"
        console.print(text, style="yellow", soft_wrap=True)


def html(facts: Facts, folder: SweepFolder, parent: SweepRun) -> str:
    """Return the report, with links to where MLflow's UI is served."""
    return render(facts, _links(facts, parent), pictures.read(folder.scored_images))


def _links(facts: Facts, parent: SweepRun, base_url: str | None = None) -> Links:
    promote = facts.sweep.promote
    return sweep_links(parent, facts.sweep, promote.model if promote else None, base_url)


def render(facts: Facts, links: Links, kept: ScoredImages) -> str:
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
    """Return (text, sort key) of the cells of a trial; each field of its point has a column."""
    metrics = facts.board.shown[1:]
    names, texts = header(facts.board, metrics)[1:], row(facts.board, trial, metrics)[1:]
    standing = facts.board.standings.get(trial.name)
    low = standing.low if standing else None
    keys = {**trial.best, "95 % interval": low, "rung": trial.best_rung}
    cells: list[tuple[str, Any]] = [(trial.name, trial.name)]  # the title repeats the point
    cells += [(text, keys.get(name, text)) for name, text in zip(names, texts, strict=True)]
    for path in facts.sweep.search.space:
        value = facts.points.get(trial.name, {}).get(path)
        text = "" if value is None else format_value(value)
        cells.append((text, value if is_number(value) else "" if value is None else str(value)))
    return cells


def _data(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{b64encode(content).decode()}"
