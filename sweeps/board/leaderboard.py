"""The leaderboard of a sweep, read back from MLflow: pure values once read."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from sweeps.pareto import costs, fronts
from sweeps.spec.objectives import Objective
from sweeps.spec.sweep import Search
from sweeps.tracking.segment_run import LINEAGE
from sweeps.tracking.sweep_run import SweepRun
from workers.measures import MEASURES

_NAMED = 8  # trials that a line names


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How sure a trial's objective is, and whether the images tell it from the best trial's."""

    low: float
    """The objective lies between `low` and `high` with 95 % confidence."""
    high: float
    vs_best: Literal["best", "tied", "behind"]
    """Tied: it cannot be told from the best."""

    @property
    def interval(self) -> str:
        """The interval as people read it."""
        return f"{number(self.low)} to {number(self.high)}"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One trial."""

    trial: str
    title: str
    run_id: str
    state: str
    params: Mapping[str, str]
    best: Mapping[str, float]
    """Metrics of the best rung, such as ``cider``; empty when no rung was scored."""
    rung: int | None
    """The best rung."""
    rungs: int
    """Rungs that the trial did."""
    final: Mapping[str, float]
    """Metrics of the best adapter with the final beams; empty for stopped trials."""
    guard: str | None = None
    """Why the guard stopped the trial."""
    violates: str | None = None
    """Which limits of the search the trial violates, in words: it cannot win."""
    lineage: str = ""
    """Whose states its weights went through, such as ``lr0.003 <- trial-002@4``; none for its own.
    """
    standing: Standing | None = None
    """None where no scores per image are kept."""


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """All trials of a sweep, best first.

    After them come those that violate a limit, and last those without a score.
    """

    sweep_id: str
    objective: str
    mode: str
    entries: tuple[Entry, ...]
    zero_shot: float | None
    """The objective of the base before any training."""
    further: tuple[Objective, ...] = ()
    """The objectives after the first."""
    limited: tuple[str, ...] = ()
    """Quantities that have a limit."""
    images: int | None = None
    """Images behind the standings; None without standings."""
    remarks: tuple[str, ...] = ()
    """What else there is to say, in sentences."""

    @property
    def shown(self) -> tuple[str, ...]:
        """What is worth a column: the objectives first; BLEU-4 stands for BLEU-1 to -3.

        What was measured is when it is an objective or has a limit.
        """
        others = {name for entry in self.entries for name in entry.best}
        hidden = {"bleu_1", "bleu_2", "bleu_3", *MEASURES}
        asked = [*(objective.metric for objective in self.objectives), *self.limited]
        return tuple(dict.fromkeys([*asked, *sorted(others - hidden)]))

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """All objectives, the leading one first."""
        mode: Any = self.mode
        return (Objective(metric=self.objective, mode=mode), *self.further)

    @cached_property
    def front(self) -> tuple[Entry, ...]:
        """The trials that no other dominates, best by the first objective first.

        By their best rungs, however they ended.
        """
        found = [entry for entry in self.entries if not entry.violates and self.values(entry)]
        if not found:
            return ()
        modes = [objective.mode for objective in self.objectives]
        first = fronts(costs([self.values(entry) for entry in found], modes))[0]
        return tuple(found[place] for place in first)

    def values(self, entry: Entry) -> tuple[float, ...]:
        """Return a trial's objectives at its best rung; none when one of them has no number."""
        values = [entry.best.get(objective.metric, math.nan) for objective in self.objectives]
        return () if any(map(math.isnan, values)) else tuple(values)

    @property
    def changed(self) -> bool:
        """Whether a trial was given other points in its course."""
        return any(entry.lineage for entry in self.entries)

    @property
    def tied(self) -> tuple[Entry, ...]:
        """The trials that cannot be told from the best."""
        return tuple(
            entry for entry in self.entries if entry.standing and entry.standing.vs_best == "tied"
        )

    @property
    def winner(self) -> Entry | None:
        """The best trial; None when none was scored, or all that were violate a limit."""
        first = self.entries[0] if self.entries else None
        if first is None or first.violates:
            return None
        return None if math.isnan(first.best.get(self.objective, math.nan)) else first


def ranked(entries: Sequence[Entry], objective: str, mode: str) -> tuple[Entry, ...]:
    """Sort by the objective, best first; of equals the earlier trial.

    Those that violate a limit come after all others, unscored ones and NaN last.
    """
    sign = -1.0 if mode == "max" else 1.0

    def key(entry: Entry) -> tuple[bool, bool, float, str]:
        value = entry.best.get(objective, math.nan)
        scored = not math.isnan(value)
        violating = entry.violates is not None
        return (not scored, violating, sign * value if scored else 0.0, entry.trial)

    return tuple(sorted(entries, key=key))


def of_search(parent: SweepRun, search: Search) -> Leaderboard:
    """Read the trials of a sweep from MLflow, as its search judges them."""
    return read(parent, *search.objectives, limited=search.limited)


def read(
    parent: SweepRun, objective: Objective, *further: Objective, limited: Sequence[str] = ()
) -> Leaderboard:
    """Read the trials of a sweep from MLflow; `limited` are quantities that have a limit."""
    runs = parent.trials()
    entries = [_entry(run) for run in runs]
    return Leaderboard(
        sweep_id=parent.sweep_id,
        objective=objective.metric,
        mode=objective.mode,
        entries=ranked(entries, objective.metric, objective.mode),
        zero_shot=_zero_shot(parent, runs, objective.metric),
        further=further,
        limited=tuple(limited),
    )


def no_winner(board: Leaderboard) -> str:
    """Say why nobody has won."""
    if any(entry.violates and board.objective in entry.best for entry in board.entries):
        return "no trial with a score keeps search.constraints"
    return "no trial has a score"


def number(value: float | None) -> str:
    """Return a score as people read it; nothing for None."""
    return "" if value is None else f"{value:.4f}"


def header(board: Leaderboard, metrics: Sequence[str]) -> list[str]:
    """Return the names of the columns, with `metrics` after the objective."""
    standing = ["95 % interval", "vs best"] if board.images else []
    front = ["front"] if board.further else []
    lineage = ["lineage"] if board.changed else []
    return ["trial", "state", *front, board.objective, *standing, *metrics, "rung", *lineage]


def row(board: Leaderboard, entry: Entry, metrics: Sequence[str]) -> list[str]:
    """Return the cells of a trial below `header`."""
    standing = (entry.standing.interval, entry.standing.vs_best) if entry.standing else ("", "")
    front = ["yes" if entry in board.front else ""] if board.further else []
    return [
        entry.title,
        f"{entry.state}, violates" if entry.violates else entry.state,
        *front,
        number(entry.best.get(board.objective)),
        *(standing if board.images else ()),
        *(number(entry.best.get(name)) for name in metrics),
        "" if entry.rung is None else str(entry.rung),
        *([entry.lineage] if board.changed else []),
    ]


def verdict(board: Leaderboard) -> str | None:
    """Say in a line which trials cannot be told from the best; None without standings."""
    if not board.images or not board.winner:
        return None
    tied = [entry.trial for entry in board.tied]
    names = ", ".join(tied[:_NAMED]) or "no other trial"
    more = f" and {len(tied) - _NAMED} more" if len(tied) > _NAMED else ""
    return (
        f"cannot be told from {board.winner.trial} by these {board.images} images "
        f"(paired bootstrap, 95 %): {names}{more}"
    )


def markdown(board: Leaderboard, most: int | None = None) -> str:
    """Return the leaderboard as the note of the sweep's run, with `most` metrics or all."""
    metrics = board.shown[1:][:most]
    names, said = header(board, metrics), verdict(board)
    rows = [names, *(row(board, entry, metrics) for entry in board.entries)]
    top, *below = ["| " + " | ".join(cells) + " |" for cells in rows]
    lines = [
        f"**{board.objective}** ({board.mode}), zero-shot {number(board.zero_shot)}",
        "",
        top,
        "|" + "---|" * len(names),
        *below,
    ]
    closing = [said] if said else []
    return "\n".join(
        [*lines, *(f"\n{line}" for line in [*closing, *board.remarks, *guarded(board)])]
    )


def guarded(board: Leaderboard) -> list[str]:
    """Return a line for each trial that the guard stopped, or that violates a limit, and why."""
    reasons = [(entry.title, entry.guard or entry.violates) for entry in board.entries]
    return [f"{title}: {reason}" for title, reason in reasons if reason]


def _entry(run: Any) -> Entry:
    metrics, tags = run.data.metrics, run.data.tags
    best = _below(metrics, "best/")
    rung = best.pop("rung", None)
    return Entry(
        trial=tags["trial.id"],
        title=run.info.run_name,
        run_id=run.info.run_id,
        state=tags.get("trial.state", "running"),
        params=dict(run.data.params),
        best=best,
        rung=None if rung is None else int(rung),
        rungs=int(metrics.get("train/epochs", 0)),
        final=_below(metrics, "final/"),
        guard=tags.get("trial.guard"),
        violates=tags.get("trial.violates"),
        lineage=tags.get(LINEAGE, ""),
    )


def _below(metrics: Mapping[str, float], prefix: str) -> dict[str, float]:
    return {
        name.removeprefix(prefix): value
        for name, value in metrics.items()
        if name.startswith(prefix)
    }


def _zero_shot(parent: SweepRun, runs: Sequence[Any], objective: str) -> float | None:
    for run in runs:
        for point in parent.client.get_metric_history(run.info.run_id, f"val/{objective}"):
            if point.step == 0:
                return float(point.value)
    return None
