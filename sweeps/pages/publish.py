"""The pages of a sweep in MLflow: its run's note, and the plots and the report as artifacts."""

from io import BytesIO

from PIL import Image
from rich.console import Console

from sweeps.board.leaderboard import Leaderboard
from sweeps.board.view import Links, sweep_links
from sweeps.pages import plots
from sweeps.pages.facts import Facts, gather
from sweeps.pages.report import render
from sweeps.pages.summary import REPORT, note
from sweeps.results import keepsakes
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import Sweep
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
        text = note(facts, _links(facts, parent, _WITHIN_THE_UI))
        set_tags(client, run_id, {NOTE: redact(text)})
        for name, content in plots.artifacts(facts).items():
            if isinstance(content, str):
                client.log_text(run_id, content, f"plots/{name}.svg")
            else:
                picture = Image.open(BytesIO(content), formats=("PNG",))
                client.log_image(run_id, picture, artifact_file=f"plots/{name}.png")
        client.log_text(run_id, html(facts, folder, parent), REPORT)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        text = f"warning: no report of {folder.sweep_id} in MLflow: {reason}"
        console.print(text, style="yellow", soft_wrap=True)


def html(facts: Facts, folder: SweepFolder, parent: SweepRun) -> str:
    """Return the report, with links to where MLflow's UI is served."""
    return render(facts, _links(facts, parent), keepsakes.read(folder.keepsakes))


def _links(facts: Facts, parent: SweepRun, base_url: str | None = None) -> Links:
    promote = facts.sweep.promote
    return sweep_links(parent, facts.sweep, promote.model if promote else None, base_url)
