"""The trial that a promotion is about, by what names it."""

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from sweeps.board.earlier import EarlierSweep, adapter_of
from sweeps.board.front_view import lines
from sweeps.board.leaderboard import Leaderboard, no_winner
from sweeps.promotion.adapters import model_store
from sweeps.promotion.evidence import Candidate
from sweeps.run_lookup import run_id
from sweeps.study.study import recipe_of
from sweeps.study.trials import TrialState
from sweeps.tracking.client import Tracking

_RUN_ID = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, kw_only=True)
class Nominee:
    """A trial of a sweep."""

    earlier: EarlierSweep = field(repr=False)
    trial: TrialState

    @cached_property
    def run_id(self) -> str:
        """The id of its run in MLflow."""
        return run_id(self.earlier.run, self.trial.name)

    @property
    def tracking(self) -> Tracking:
        """Where its sweep is tracked, and its model is registered."""
        return self.earlier.run.tracking

    @property
    def candidate(self) -> Candidate:
        """Its adapter and its recipe. Raises ValueError when the adapter is gone."""
        folder = self.earlier.folder
        return Candidate(
            title=f"{self.trial.title} of {folder.sweep_id}",
            recipe=recipe_of(self.earlier.sweep, folder, self.trial.name),
            adapter=adapter_of(folder, self.trial),
        )

    @property
    def tags(self) -> dict[str, str]:
        """What a registered version says of where it is from."""
        best = {
            f"best.{objective.metric}": f"{self.trial.best[objective.metric]:.6f}"
            for objective in self.earlier.sweep.search.objectives
            if objective.metric in self.trial.best
        }
        return {"sweep.id": self.earlier.folder.sweep_id, "trial.id": self.trial.name, **best}


def nominee(name: str, results: Path) -> Nominee:
    """Return the trial that `name` names.

    ``SWEEP/trial-003``, the sweep alone for its winner, or the id of a trial's run in MLflow.
    Raises ValueError or FileNotFoundError for a trial that is not there or cannot be promoted,
    and for a sweep alone that has several objectives: its front has no winner.
    """
    sweep_id, _, trial = (_by_run(name, results) if _RUN_ID.fullmatch(name) else name).partition(
        "/"
    )
    earlier = EarlierSweep.find(results, sweep_id)
    found = _trial(earlier.board, trial) if trial else _winner(earlier.board)
    return Nominee(earlier=earlier, trial=found)


def _by_run(run_id: str, results: Path) -> str:
    """Return ``SWEEP/trial-003`` of a run, which must be a trial's."""
    from mlflow.exceptions import MlflowException

    tracking = model_store(results)
    try:
        tags = tracking.client().get_run(run_id).data.tags
    except MlflowException as error:
        raise ValueError(
            f"no run {run_id} in {tracking.address}; MLFLOW_TRACKING_URI names another store"
        ) from error
    if not {"sweep.id", "trial.id"} <= tags.keys():
        raise ValueError(f"run {run_id} is not a trial's: it has no tags sweep.id and trial.id")
    return f"{tags['sweep.id']}/{tags['trial.id']}"


def _winner(board: Leaderboard) -> TrialState:
    if board.winner is None:
        raise ValueError(f"{board.sweep_id}: {no_winner(board)}, so there is nothing to promote")
    if board.further:
        choices = "".join(f"\n  {line}" for line in lines(board))
        raise ValueError(
            f"{board.sweep_id} has several objectives; choose a trial of its front, such as "
            f"{board.sweep_id}/{board.front[0].name}:{choices}"
        )
    return board.winner


def _trial(board: Leaderboard, name: str) -> TrialState:
    trial = board.trial(name)
    if trial.violates:
        raise ValueError(f"{name} cannot be promoted: {trial.violates}")
    if trial.score is None:
        raise ValueError(f"{name} cannot be promoted: it has no score")
    return trial
