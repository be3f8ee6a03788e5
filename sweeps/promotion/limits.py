"""What the gate asks of a trial: the sweep file's section ``promote``, and the command's wishes."""

from dataclasses import dataclass
from typing import Literal

from sweeps.promotion.verdict import Limits
from sweeps.spec.objectives import LOSS
from sweeps.spec.sweep import Promote, Sweep
from sweeps.spec.validation import issues_of
from workers.metrics import catalog

_PREFERRED = "cider"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a person asks of a promotion beside the sweep file."""

    to: str | None = None
    """Registered model; None takes the file's."""
    margin: float | None = None
    """None takes the file's."""
    dry_run: bool = False
    """Judge, but register nothing and change no champion."""
    approved_by: str | None = None
    allow_new_data: bool = False
    """Score both anew where the champion was judged by other images, metrics or base."""


def asked(sweep: Sweep, wish: Wish) -> Promote:
    """Return the section ``promote`` with the wishes on top.

    Raises ValueError when nobody names a model, for a name that no model can have, and for a
    negative margin.
    """
    written = sweep.promote.model_dump() if sweep.promote else {}
    wishes = {"model": wish.to, "margin": wish.margin}
    values = {**written, **{name: value for name, value in wishes.items() if value is not None}}
    if "model" not in values:
        raise ValueError("the sweep file has no promote.model; name one with --to")
    issues = issues_of(Promote, values)
    if issues:  # the file's own values are without
        options = {"model": "--to", "margin": "--margin"}
        raise ValueError("; ".join(f"{options[issue.path]} {issue.text}" for issue in issues))
    return Promote.model_validate(values)


def limits(sweep: Sweep, promote: Promote) -> Limits:
    """Return what the gate asks of a sweep's trial."""
    objective, mode = _objective(sweep)
    return Limits(
        objective=objective,
        mode=mode,
        margin=promote.margin,
        confidence=promote.confidence,
        max_adapter_mb=promote.max_adapter_mb,
        max_latency_ms=promote.max_latency_ms,
        max_slowdown=promote.max_slowdown,
    )


def _objective(sweep: Sweep) -> tuple[str, Literal["max", "min"]]:
    """Return the score that must be better: the leading objective's, unless that is the loss.

    Captions are what is served: for the loss stands CIDEr, or else the first score with a better
    direction. Raises ValueError when there is none.
    """
    leading = sweep.search.objective
    if leading.metric != LOSS:
        return leading.metric, leading.mode
    scores = {
        output: metric.direction
        for metric in map(catalog.get, sweep.evaluate.metrics)
        for output in metric.outputs
        if metric.direction
    }
    if not scores:
        raise ValueError(
            "a promotion is judged by a score of captions: evaluate.metrics must have one with a "
            f"better direction, such as {_PREFERRED}; got {', '.join(sweep.evaluate.metrics)}"
        )
    output = _PREFERRED if _PREFERRED in scores else next(iter(scores))
    return output, scores[output]
