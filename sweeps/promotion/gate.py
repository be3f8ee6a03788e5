"""The gate: whether a challenger may take the champion's place, and why. Pure functions.

Both have captioned the same images, which no trial has seen. The objective must be better by more
than the margin, with the confidence that is asked for: the lower end of the paired bootstrap's
interval of the gain decides. No other score may be significantly worse. These are not corrected
for their number: a correction makes a loss harder to see, and what the gate must not do is to
promote a loss; so each score's own interval decides, as the table shows it.
"""

from collections.abc import Sequence
from dataclasses import asdict

from sweeps.promotion.verdict import Change, Check, Evidence, Limits, Terms, Verdict
from workers.metrics import catalog
from workers.metrics.bootstrap import Difference, paired
from workers.metrics.metric import Metric

_NAMED = 3  # scores that a line names


def agreement(new: Terms, old: Terms | None, *, rescored: bool) -> tuple[Check, ...]:
    """Check that a challenger is judged as the champion was; `old` None: that is not known.

    With `rescored` both are scored anew by the challenger's terms, and differences are only said.
    """
    names = {"images": "test images", "metrics": "metric version", "base": "base revision"}
    now, before = asdict(new), asdict(old) if old else {}
    return tuple(
        _agrees(name, now[part], before.get(part), rescored) for part, name in names.items()
    )


def judge(
    challenger: Evidence, champion: Evidence, limits: Limits, given: Sequence[Check] = ()
) -> Verdict:
    """Compare two sides that captioned the same images; `given` are the checks made before.

    Raises ValueError for evidence of other images, other metrics or without the objective.
    """
    changes = _changes(challenger, champion, limits)
    checks = (
        *given,
        _gain(changes[0], limits),
        _others(changes[1:]),
        _size(challenger, limits),
        _latency(challenger, limits),
        *_slowdown(challenger, champion, limits),
    )
    return Verdict(
        challenger=challenger.title,
        champion=champion.title,
        checks=checks,
        changes=changes,
        images=len(challenger.scored.ids),
        confidence=limits.confidence,
    )


def _agrees(name: str, now: str, before: str | None, rescored: bool) -> Check:
    if now == before:
        return Check(name=name, passed=True, measured="the champion's", asked="the champion's")
    then = "not known" if before is None else _short(before)
    asked = "as for the champion, or --allow-new-data, which scores both anew"
    if rescored:
        asked = "any: both were scored anew"
    measured = f"{_short(now)}, for the champion {then}"
    return Check(name=name, passed=rescored, measured=measured, asked=asked)


def _short(value: str) -> str:
    """Return a digest's first digits; other values as they are."""
    is_digest = len(value) == 64 and set(value) <= set("0123456789abcdef")
    return value[:12] if is_digest else value


def _changes(challenger: Evidence, champion: Evidence, limits: Limits) -> tuple[Change, ...]:
    """Return the changes of all outputs that both have, the objective's first."""
    ours, theirs = challenger.scored, champion.scored
    metrics = [catalog.get(name) for name in ours.statistics if name in theirs.statistics]
    pools = {metric.name: metric.pool for metric in metrics}
    found = paired(ours, theirs, pools, confidence=limits.confidence)
    changes = [
        _change(output, metric, challenger, champion, found[output], limits)
        for metric in metrics
        for output in metric.outputs
    ]
    first = sorted(changes, key=lambda change: change.output != limits.objective)
    if not first or first[0].output != limits.objective:
        raise ValueError(f"the objective {limits.objective} is not among the scores of both sides")
    return tuple(first)


def _change(
    output: str, metric: Metric, challenger: Evidence, champion: Evidence,
    difference: Difference, limits: Limits,
) -> Change:  # fmt: skip
    mode = limits.mode if output == limits.objective else metric.direction
    low, high = difference.low, difference.high
    smaller = mode == "min"
    return Change(
        output=output,
        mode=mode,
        challenger=challenger.scored.corpus[output],
        champion=champion.scored.corpus[output],
        gain=-difference.value if smaller else difference.value,
        low=-high if smaller else low,
        high=-low if smaller else high,
        p=difference.p,
    )


def _gain(change: Change, limits: Limits) -> Check:
    return Check(
        name=f"gain in {change.output}",
        passed=change.won and change.low > limits.margin,
        measured=f"{change.gain:+.4f}, {limits.confidence * 100:g} % interval "
        f"{change.low:+.4f} to {change.high:+.4f}",
        asked=f"its lower end above {limits.margin:g}",
    )


def _others(changes: Sequence[Change]) -> Check:
    lost = [str(change) for change in changes if change.lost]
    judged = sum(change.mode is not None for change in changes)
    named = "; ".join(lost[:_NAMED]) + (f"; and {len(lost) - _NAMED} more" * (len(lost) > _NAMED))
    return Check(
        name="other scores",
        passed=not lost,
        measured=f"worse: {named}" if lost else f"none of {judged} significantly worse",
        asked="no significant loss",
    )


def _size(challenger: Evidence, limits: Limits) -> Check:
    return _at_most("adapter size", challenger.adapter_mb, limits.max_adapter_mb, "MB")


def _latency(challenger: Evidence, limits: Limits) -> Check:
    return _at_most("latency", challenger.latency_ms, limits.max_latency_ms, "ms per caption")


def _slowdown(challenger: Evidence, champion: Evidence, limits: Limits) -> tuple[Check, ...]:
    """Check it where it is limited: else the champion's latency may be of another day."""
    if limits.max_slowdown is None:
        return ()
    ratio = challenger.latency_ms / champion.latency_ms
    return (_at_most("slowdown", ratio, limits.max_slowdown, "x the champion's latency"),)


def _at_most(name: str, value: float, limit: float | None, unit: str) -> Check:
    return Check(
        name=name,
        passed=limit is None or value <= limit,
        measured=f"{value:.4g} {unit}",
        asked="no limit" if limit is None else f"at most {limit:g} {unit}",
    )
