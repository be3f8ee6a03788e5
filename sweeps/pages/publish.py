"""The pages of a sweep in MLflow: its run's note, and the plots and the report as artifacts."""

from io import BytesIO

from PIL import Image
from rich.console import Console

from sweeps.board.leaderboard import Leaderboard
from sweeps.board.view import sweep_links
from sweeps.pages import plots
from sweeps.pages.facts import Facts, gather
from sweeps.pages.note import REPORT, note
from sweeps.pages.report import render
from sweeps.results import pictures
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import Sweep
from sweeps.tracking.client import set_tags
from sweeps.tracking.sweep_run import NOTE, SweepRun
from workers.redaction import redact

_HERE = ""
"""Base of links within MLflow's UI, wherever that is served."""


def publish(
    sweep: Sweep, folder: SweepFolder, parent: SweepRun, board: Leaderboard, console: Console
) -> None:
    """Write note, plots and report of a sweep to its run, in place of earlier ones.

    They show what is kept anyway: if one of them cannot be made, the sweep ends as it would have,
    and the console says why.
    """
    try:
        facts = gather(sweep, folder, parent, board)
        set_tags(parent.client, parent.run_id, {NOTE: redact(_note(facts, parent))})
        for plot in plots.lessons(facts):
            _log(parent, plot)
        parent.client.log_text(parent.run_id, html(facts, folder, parent), REPORT)
    except Exception as error:
        console.print(
            f"warning: no report of {folder.sweep_id} in MLflow: {type(error).__name__}: {error}",
            style="yellow", soft_wrap=True,
        )  # fmt: skip


def html(facts: Facts, folder: SweepFolder, parent: SweepRun) -> str:
    """Return the report, with links to where MLflow's UI is served."""
    addresses = sweep_links(parent, facts.sweep, _model(facts))
    return render(facts, addresses, pictures.read(folder.scored_images))


def _note(facts: Facts, parent: SweepRun) -> str:
    return note(facts, sweep_links(parent, facts.sweep, _model(facts), _HERE))


def _model(facts: Facts) -> str | None:
    return facts.sweep.promote.model if facts.sweep.promote else None


def _log(parent: SweepRun, plot: plots.Plot) -> None:
    if isinstance(plot.content, str):
        parent.client.log_text(parent.run_id, plot.content, f"plots/{plot.name}.svg")
    else:
        picture = Image.open(BytesIO(plot.content), formats=("PNG",))
        parent.client.log_image(parent.run_id, picture, artifact_file=f"plots/{plot.name}.png")
