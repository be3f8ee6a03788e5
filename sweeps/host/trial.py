"""A trial in a slot, and the result of its rungs: pure values."""

import re
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sweeps.host.trial_record import TrialRecord, objective_first
from sweeps.results.best import Best
from sweeps.results.scores_file import Scores
from sweeps.results.segments import Segment
from sweeps.rung_result import RungResult
from sweeps.spec import constraints
from sweeps.spec.constraints import Judgement
from sweeps.spec.sweep import Sweep, values_of
from workers.recipe import Recipe
from workers.redaction import redact
from workers.report import Prediction, Report

_PASSED_THROUGH = re.compile(r"[/\\](sweeps[/\\]host|torch[/\\]nn[/\\]modules[/\\]module)\b")
_IN_PACKAGE = re.compile(
    r".*[/\\](site-packages|dist-packages)[/\\]|.*[/\\](?=(sweeps|workers)[/\\])"
)
_MOST_FRAMES = 20


@dataclass(kw_only=True)
class OpenTrial:
    """A trial in a slot: the state that its host keeps besides the weights."""

    name: str
    """Its id, such as ``trial-000``: that of its slot, too."""
    record: TrialRecord
    recipe: Recipe
    untrained: Report | None = None
    """Rung 0 of a trial that has not been trained yet."""
    fencing_token: str = ""
    """Of the process that opened the slot: another may open a trial that waited."""
    began: int = 0
    """Rung after which it began; above 0 for one that began from another trial's state."""
    first_rung: int = 1
    """The first one with an objective."""
    best: Best | None = None
    predictions: tuple[Prediction, ...] = ()
    scores: Scores | None = None
    """Of the best rung's captions, and of the final ones when there are some."""
    segments: tuple[Segment, ...] = ()
    """Of a trial that was given other points in its course."""
    moving: Mapping[str, float] = field(default_factory=dict)
    """Numbers of its point that may change in its course, as they are logged at each rung."""
    is_over: bool = False
    """Whether it ended by itself; otherwise it may only wait, or be stopped."""

    def out_of_patience(self, rung: int) -> bool:
        """Say whether the objective has not become better for too many rungs.

        The count restarts when the trial takes over the state of another one.
        """
        patience = self.recipe.train.patience
        since = self.best.rung if self.best else max(self.began, self.first_rung - 1)
        taken_over = self.segments[-1].rung if self.segments else 0
        return patience is not None and rung - max(since, taken_over) >= patience

    def is_judged(self, report: Report) -> bool:
        """Say whether a rung has an objective; the first ones may have no captions."""
        return report.finished or report.rung == 0 or report.rung >= self.first_rung

    def may_be_best(self, report: Report) -> bool:
        """Say whether the guard lets a rung become the best one.

        A collapsed model can have the lowest loss; what it writes is of no use all the same.
        """
        return not (report.symptoms and self.recipe.guard.stop)

    def judged(self, report: Report) -> Report:
        """Return the report of a trial that ends here: out of patience, or never healthy."""
        finished = report.finished or self.out_of_patience(report.rung)
        hopeless = finished and self.best is None and not self.may_be_best(report)
        return replace(report, finished=finished, collapsed=report.collapsed or hopeless)

    def judgement(self, sweep: Sweep, report: Report) -> Judgement:
        """Return what the sweep's limits say of the trial after a rung."""
        best_metrics = self.best.metrics if self.best else {}
        return constraints.judge(sweep.search.constraints, report.metrics, best_metrics)

    def result(self, sweep: Sweep, report: Report, judgement: Judgement) -> RungResult:
        """Return the result of a rung that ends now."""
        values, is_going = values_of(sweep, report.metrics), not report.collapsed
        return RungResult(
            rung=report.rung,
            objective=values[0] if self.is_judged(report) else None,
            objectives=tuple(values),
            best=self.best.value if self.best else None,
            bests=tuple(values_of(sweep, self.best.metrics)) if self.best else (),
            finished=report.finished and is_going,
            guard=None if is_going else report.diagnosis,
            infeasible=judgement.for_good and is_going and not report.finished,
            changes=len(self.segments),
            symptoms=tuple(report.symptoms),
            violations=dict(judgement.excesses),
            violates=judgement.violates,
            metrics=objective_first(report.metrics, sweep.search.objective.metric),
            image_waits=dict(report.image_waits),
            seconds=report.seconds,
            time=time.time(),
        )


def failure(error: Exception) -> RungResult:
    """Return the result of a trial that raised `error`, with the traceback, cause last, redacted.

    Raises an error of Ray's again: what the host asks, such as its node's scorer, has gone. That is
    no failure of the trial, which Tune lets go on.
    """
    from ray.exceptions import RayError

    from workers.memory.errors import is_out_of_memory

    if isinstance(error, RayError):
        raise error
    violations = {"memory": 1.0} if is_out_of_memory(error) else {}
    return RungResult(failed=redact(shown_traceback(error)), violations=violations)


def shown_traceback(error: BaseException) -> str:
    """Return an error's traceback, cause first, without the frames that say nothing of it.

    Left out are the host's own turns, unless it is the host that fails, torch's calls of a module
    by a module, and all but the last of a deep stack; files are named from their package on.
    """
    shown = traceback.TracebackException.from_exception(error)
    seen: traceback.TracebackException | None = shown
    while seen is not None:
        passed, last = seen.stack[:-1], seen.stack[-1:]
        frames = [frame for frame in passed if not _PASSED_THROUGH.search(frame.filename)]
        seen.stack = traceback.StackSummary.from_list(
            (_IN_PACKAGE.sub("", frame.filename), frame.lineno or 0, frame.name, frame.line)
            for frame in [*frames, *last][-_MOST_FRAMES:]
        )
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "".join(shown.format())
