"""The leaderboard of a sweep: its trials ranked, as a value and as text."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from sweeps.pareto import costs, fronts
from sweeps.results import segments
from sweeps.results.budget import Spent
from sweeps.results.folder import SweepFolder
from sweeps.schedulers import fidelity
from sweeps.spec.load import Sweep
from sweeps.spec.objectives import Objective
from sweeps.study.trials import TrialState, trial_states
from workers.measures import MEASURES

_NAMED = 8  # trials that a line names


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The interval of a trial's objective, and whether it differs significantly from the best."""

    low: float
    """The objective lies between `low` and `high` with 95 % confidence."""
    high: float
    vs_best: Literal["best", "tied", "behind"]
    """Tied: not significantly different from the best."""

    @property
    def interval(self) -> str:
        """The interval as people read it."""
        return f"{format_score(self.low)} to {format_score(self.high)}"


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """All trials of a sweep: best first, then those that violate a limit or have no score."""

    sweep_id: str
    objectives: tuple[Objective, ...]
    """The leading one first."""
    trials: tuple[TrialState, ...]
    limited: tuple[str, ...] = ()
    """Quantities that have a limit."""
    notes: tuple[str, ...] = ()
    """Sentences about budget, grace and population."""
    run_ids: Mapping[str, str] = field(default_factory=dict)
    """Trial -> id of its run; this and the rest are MLflow's, see `sweeps.board.standings`."""
    zero_shot: float | None = None
    """The objective of the base before any training."""
    standings: Mapping[str, Standing] = field(default_factory=dict)
    """Trial -> its standing, of those with scores per image."""
    images: int | None = None
    """Images behind the standings; None without standings."""

    @classmethod
    def of(
        cls, sweep_id: str, objectives: tuple[Objective, ...], trials: Iterable[TrialState]
    ) -> "Leaderboard":
        """Rank trials by the leading objective; of equals the earlier one is first."""
        sign = -1.0 if objectives[0].mode == "max" else 1.0

        def key(trial: TrialState) -> tuple[bool, bool, float, str]:
            score = trial.score
            return score is None, bool(trial.violates), sign * (score or 0.0), trial.name

        return cls(sweep_id=sweep_id, objectives=objectives, trials=tuple(sorted(trials, key=key)))

    @property
    def objective(self) -> str:
        """The quantity of the leading objective."""
        return self.objectives[0].metric

    @property
    def mode(self) -> str:
        """Whether the leading objective is better when it is larger, ``max`` or ``min``."""
        return self.objectives[0].mode

    @property
    def further(self) -> tuple[Objective, ...]:
        """The objectives after the first."""
        return self.objectives[1:]

    @property
    def shown(self) -> tuple[str, ...]:
        """The quantities with a column: the objectives first; BLEU-4 stands for BLEU-1 to -3.

        A measure has one when it is an objective or has a limit.
        """
        others = {name for trial in self.trials for name in trial.best}
        hidden = {"bleu_1", "bleu_2", "bleu_3", *MEASURES}
        deciding = [*(objective.metric for objective in self.objectives), *self.limited]
        return tuple(dict.fromkeys([*deciding, *sorted(others - hidden)]))

    @cached_property
    def front(self) -> tuple[TrialState, ...]:
        """The trials that no other dominates by their best rungs, the best by the first objective
        first; however they ended."""
        found = [trial for trial in self.trials if trial.values and not trial.violates]
        if not found:
            return ()
        modes = [objective.mode for objective in self.objectives]
        first = fronts(costs([trial.values for trial in found], modes))[0]
        return tuple(found[place] for place in first)

    @property
    def changed(self) -> bool:
        """Whether a trial's point was changed while it trained."""
        return any(trial.lineage for trial in self.trials)

    @property
    def tied(self) -> tuple[TrialState, ...]:
        """The trials that are not significantly different from the best."""
        tied = {name for name, standing in self.standings.items() if standing.vs_best == "tied"}
        return tuple(trial for trial in self.trials if trial.name in tied)

    @property
    def winner(self) -> TrialState | None:
        """The best trial; None when none was scored, or all that were violate a limit."""
        first = self.trials[0] if self.trials else None
        return first if first and first.score is not None and not first.violates else None

    def trial(self, name: str) -> TrialState:
        """Return a trial by its name; raises ValueError, naming those there are, for none."""
        for trial in self.trials:
            if trial.name == name:
                return trial
        there = ", ".join(sorted(trial.name for trial in self.trials)) or "none yet"
        raise ValueError(f"no trial {name!r} in {self.sweep_id}; there are {there}")


def read(sweep: Sweep, folder: SweepFolder, *, driven: bool | None = None) -> Leaderboard:
    """Return the leaderboard by the study and the trials' records.

    What only MLflow has is added by `sweeps.board.standings`. `driven` is that of `trial_states`.
    """
    trials = trial_states(sweep, folder, driven=driven).values()
    board = Leaderboard.of(folder.sweep_id, sweep.search.objectives, trials)
    return replace(board, limited=sweep.search.limited, notes=notes(sweep, folder, trials))


def notes(sweep: Sweep, folder: SweepFolder, trials: Collection[TrialState]) -> tuple[str, ...]:
    """Return sentences about the used-up budget, the raised grace and the population."""
    found = []
    ended = [trial.name for trial in trials if not trial.is_open]
    every, share = [trial.name for trial in trials], sweep.resources.gpus_per_host
    spent = Spent(folder, sweep.search.budget, every, gpus_per_host=share)
    if spent.used_up and len(ended) < sweep.search.trials:
        found.append(f"budget used up after {len(ended)} of {sweep.search.trials} trials: {spent}")
    if measured := fidelity.read(sweep, folder, ended):
        found.append(str(measured))
    if generations := segments.generations(folder):
        rungs = ", ".join(map(str, sorted({each.rung for each in generations})))
        copied = sum(len(each.segments) for each in generations)
        note = f"trials were compared at rungs {rungs}; resumed from a better one's state: {copied}"
        found.append(note)
    return tuple(found)


def no_winner(board: Leaderboard) -> str:
    """Return why there is no winner."""
    if any(trial.violates and trial.score is not None for trial in board.trials):
        return "no trial with a score keeps search.constraints"
    return "no trial has a score"


def format_score(value: float | None) -> str:
    """Return a score as people read it; nothing for None."""
    return "" if value is None else f"{value:.4f}"


def header(board: Leaderboard, metrics: Sequence[str]) -> list[str]:
    """Return the names of the columns, with `metrics` after the objective."""
    standing = ["95 % interval", "vs best"] if board.images else []
    front = ["front"] if board.further else []
    lineage = ["lineage"] if board.changed else []
    return ["trial", "state", *front, board.objective, *standing, *metrics, "rung", *lineage]


def row(board: Leaderboard, trial: TrialState, metrics: Sequence[str]) -> list[str]:
    """Return the cells of a trial below `header`."""
    found = board.standings.get(trial.name)
    standing = (found.interval, found.vs_best) if found else ("", "")
    front = ["yes" if trial in board.front else ""] if board.further else []
    return [
        trial.title,
        f"{trial.state}, violates" if trial.violates else trial.state,
        *front,
        format_score(trial.score),
        *(standing if board.images else ()),
        *(format_score(trial.best.get(name)) for name in metrics),
        "" if trial.best_rung is None else str(trial.best_rung),
        *([trial.lineage] if board.changed else []),
    ]


def describe_tied(board: Leaderboard) -> str | None:
    """Return a line with the trials that are as good as the best; None without standings."""
    if not board.images or not board.winner:
        return None
    tied = [trial.name for trial in board.tied]
    names = ", ".join(tied[:_NAMED]) or "no other trial"
    more = f" and {len(tied) - _NAMED} more" if len(tied) > _NAMED else ""
    return (
        f"not significantly different from {board.winner.name} on these {board.images} images "
        f"(paired bootstrap, 95 %): {names}{more}"
    )


def warnings(board: Leaderboard) -> list[str]:
    """Return a line for each trial that the guard stopped or that violates a limit, and why."""
    reasons = [(trial.title, trial.guard or trial.violates) for trial in board.trials]
    return [f"{title}: {reason}" for title, reason in reasons if reason]


def markdown(board: Leaderboard, most: int | None = None) -> str:
    """Return the leaderboard as the note of the sweep's run, with `most` metrics or all."""
    metrics = board.shown[1:][:most]
    names = header(board, metrics)
    rows = [names, *(row(board, trial, metrics) for trial in board.trials)]
    top, *below = ["| " + " | ".join(cells) + " |" for cells in rows]
    title = f"**{board.objective}** ({board.mode}), zero-shot {format_score(board.zero_shot)}"
    closing = [describe_tied(board), *board.notes, *warnings(board)]
    paragraphs = [f"\n{line}" for line in closing if line]
    return "\n".join([title, "", top, "|" + "---|" * len(names), *below, *paragraphs])
