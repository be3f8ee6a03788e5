"""All that the pages of a sweep show, gathered once from its folder and from MLflow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from sweeps.board.leaderboard import Leaderboard
from sweeps.pages import cost, curves, gallery, svg
from sweeps.pages.cost import Cost
from sweeps.pages.curves import Curve
from sweeps.pages.gallery import Gallery
from sweeps.pages.scales import Scale, is_number, of_field
from sweeps.results import pictures
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import Sweep
from sweeps.spec.objectives import LOSS, directions
from sweeps.study.study import importances
from sweeps.tracking.sweep_run import SweepRun
from workers.redaction import redact

_TRAIN_LOSS = "train/loss"
_ORIGIN = ("version.", "eval.", "mlflow.source.git.commit")
"""Beginnings of the tags that say what the scores depend on."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A sweep as it stands, ended or not."""

    sweep: Sweep
    board: Leaderboard
    state: str
    points: Mapping[str, Mapping[str, Any]]
    """Trial -> swept field -> its value; a conditional field is left out where it is off."""
    shares: Mapping[str, float]
    """Importance of the fields, largest first; empty when there is too little to tell."""
    curves: Mapping[str, Mapping[str, Curve]]
    base: Mapping[str, float]
    """Metric as reported (``val/cider``) -> its value of the base before training."""
    gallery: Gallery
    cost: Cost
    origin: Mapping[str, str]
    """Versions of packages, digests and the like, by name."""
    text: str
    """The sweep file with every default written out; secrets are not shown."""

    @property
    def colours(self) -> Mapping[str, str]:
        """A colour for each trial, best first."""
        return svg.colours([trial.name for trial in self.board.trials])

    @property
    def scales(self) -> dict[str, Scale]:
        """A scale for each swept field, the most important ones first."""
        space = self.sweep.search.space
        order = dict.fromkeys([*(path for path in self.shares if path in space), *space])
        return {
            path: of_field(
                path, space[path], [point[path] for point in self.points.values() if path in point]
            )
            for path in order
        }

    @property
    def values(self) -> dict[str, float]:
        """Trial -> its objective, of the trials that have one and violate no limit."""
        return {
            trial.name: trial.score
            for trial in self.board.trials
            if trial.score is not None and is_number(trial.score) and not trial.violates
        }


def gather(sweep: Sweep, folder: SweepFolder, parent: SweepRun, board: Leaderboard) -> Facts:
    """Read what there is of a sweep; `board` has what `sweeps.board.standings` adds from MLflow."""
    run = parent.client.get_run(parent.run_id)
    keys = [*(f"val/{name}" for name in _ordered(sweep)), _TRAIN_LOSS]
    return Facts(
        sweep=sweep,
        board=board,
        state=run.data.tags.get("sweep.state", "running"),
        points={trial.name: trial.sampled or trial.point for trial in board.trials},
        shares=importances(sweep, folder),
        curves=curves.of(board, keys),
        base=parent.base_scores(board.run_ids.values(), keys),
        gallery=_gallery(sweep, folder, parent, board),
        cost=cost.read(folder, board, sweep.resources.gpus_per_host),
        origin=_origin(sweep, run.data.tags),
        text=redact(folder.spec.read_text(encoding="utf-8")),
    )


def _ordered(sweep: Sweep) -> Sequence[str]:
    """Return the scores of a rung, the objective first."""
    return tuple(dict.fromkeys([sweep.search.objective.metric, *sweep.outputs(), LOSS]))


def _gallery(
    sweep: Sweep, folder: SweepFolder, parent: SweepRun, board: Leaderboard
) -> Gallery:  # fmt: skip
    judging = [name for name in sweep.outputs() if name in directions()]
    metric = gallery.metric_of(board, judging)
    found = gallery.authors(parent, folder, board, metric)
    higher = metric is None or directions()[metric] == "max"
    return gallery.choose(found, pictures.read(folder.scored_images), metric, higher=higher)


def _origin(sweep: Sweep, tags: Mapping[str, str]) -> dict[str, str]:
    model = sweep.model
    return {
        "base": f"{model.base}@{model.revision}" if model.revision else model.base,
        "version.caption-sweeps": version("caption-sweeps"),
        **{name: tags[name] for name in sorted(tags) if name.startswith(_ORIGIN)},
    }
