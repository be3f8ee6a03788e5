"""All that the pages of a sweep show, gathered once from its folder and from MLflow."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, TypeAlias

from sweeps.board.leaderboard import Leaderboard
from sweeps.pages import gallery, svg
from sweeps.pages.gallery import Gallery
from sweeps.pages.scales import Scale, is_number, scale_of_field
from sweeps.results.budget import Spent
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import Sweep
from sweeps.spec.objectives import LOSS
from sweeps.spec.sweep import Budget
from sweeps.study.study import importances
from sweeps.tracking.sweep_run import SweepRun
from workers.redaction import redact

Curve: TypeAlias = Sequence[tuple[int, float]]
"""(rung, value), rung by rung."""

_GPU_MEMORY = "measured/peak_memory_gb"
"""Reported by hosts with a GPU and no others."""
_ORIGIN = ("version.", "eval.", "mlflow.source.git.commit")
"""Beginnings of the tags with what the scores depend on."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A sweep in its present state, ended or not."""

    sweep: Sweep
    board: Leaderboard
    state: str
    points: Mapping[str, Mapping[str, Any]]
    """Trial -> swept field -> its value; a conditional field is left out where it is off."""
    importances: Mapping[str, float]
    """Importance of the fields, largest first; empty with too few trials."""
    curves: Mapping[str, Mapping[str, Curve]]
    """Metric as reported (``val/cider``) -> trial -> its curve."""
    base: Mapping[str, float]
    """Metric as reported -> its value of the base before training."""
    gallery: Gallery
    cost: Mapping[str, str]
    """See `cost`."""
    origin: Mapping[str, str]
    """Versions of packages, digests and the like, by name."""
    text: str
    """The sweep file with every default written out; secrets are not shown."""

    @property
    def colours(self) -> dict[str, str]:
        """A colour for each trial, best first."""
        return svg.colours([trial.name for trial in self.board.trials])

    @property
    def scales(self) -> dict[str, Scale]:
        """A scale for each swept field, the most important ones first."""
        space = self.sweep.search.space
        order = dict.fromkeys([*(path for path in self.importances if path in space), *space])
        points = self.points.values()
        sampled = {path: [point[path] for point in points if path in point] for path in order}
        return {path: scale_of_field(path, space[path], sampled[path]) for path in order}

    @property
    def values(self) -> dict[str, float]:
        """Trial -> its objective, of the trials that have one and violate no limit."""
        return {
            trial.name: trial.score
            for trial in self.board.trials
            if trial.score is not None and is_number(trial.score) and not trial.violates
        }


def gather(sweep: Sweep, folder: SweepFolder, parent: SweepRun, board: Leaderboard) -> Facts:
    """Return the facts; `board` has what `sweeps.board.standings` adds from MLflow."""
    tags, model = parent.client.get_run(parent.run_id).data.tags, sweep.model
    scores = dict.fromkeys([sweep.search.objective.metric, *sweep.outputs(), LOSS])
    keys = [*(f"val/{name}" for name in scores), "train/loss"]
    return Facts(
        sweep=sweep,
        board=board,
        state=tags.get("sweep.state", "running"),
        points={trial.name: trial.sampled or trial.point for trial in board.trials},
        importances=importances(sweep, folder),
        curves={key: lines for key in keys if (lines := _curves(board, key))},
        base=parent.base_scores(board.run_ids.values(), keys),
        gallery=gallery.read(sweep, folder, parent, board),
        cost=cost(folder, board, sweep.resources.gpus_per_host),
        origin={
            "base": f"{model.base}@{model.revision}" if model.revision else model.base,
            "version.caption-sweeps": version("caption-sweeps"),
            **{name: tags[name] for name in sorted(tags) if name.startswith(_ORIGIN)},
        },
        text=redact(folder.spec.read_text(encoding="utf-8")),
    )


def cost(folder: SweepFolder, board: Leaderboard, gpus_per_host: float) -> dict[str, str]:
    """Return what a sweep has cost over all its drivers, in words: hours, epochs, trials.

    The time of rungs is GPU time where hosts held GPUs: times the share of one that a host has.
    """
    rungs = [rung for trial in board.trials for rung in trial.rungs]
    gpu = any(_GPU_MEMORY in rung.metrics for rung in rungs)
    trials, share = [trial.name for trial in board.trials], gpus_per_host if gpu else 1.0
    spent = Spent(folder, Budget(), trials, gpus_per_host=share)
    states = Counter(trial.state for trial in board.trials)
    ended = ", ".join(f"{count} {state}" for state, count in states.items())
    return {
        "wall time": duration(spent.hours),
        "GPU time" if gpu else "time of all rungs": duration(spent.gpu_hours),
        "epochs": str(sum(rung.rung > 0 for rung in rungs)),
        "trials": f"{len(trials)}: {ended}" if ended else "none",
    }


def duration(hours: float) -> str:
    """Return hours as people read them: ``3.2 h``, ``14 min`` or ``42 s``."""
    if hours >= 1:
        return f"{hours:.1f} h"
    minutes = hours * 60
    return f"{minutes:.0f} min" if minutes >= 2 else f"{minutes * 60:.0f} s"


def _curves(board: Leaderboard, key: str) -> dict[str, Curve]:
    """Return trial -> its curve of a metric, of the trials that have values on record."""
    lines = {}
    for trial in board.trials:
        reported = [(rung.rung, rung.metrics) for rung in trial.rungs]
        lines[trial.name] = [(rung, found[key]) for rung, found in reported if key in found]
    return {trial: line for trial, line in lines.items() if line}
