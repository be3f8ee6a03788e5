"""The gate: the checks that a challenger must pass to become the champion, as pure functions.

Both have captioned the same images, which no trial has seen. The objective must be better by more
than the margin, with the required confidence: the lower end of the paired bootstrap's interval of
the gain decides. No other score may be significantly worse. These are not corrected for their
number: a correction makes a loss harder to see, and the gate must not promote a loss; so each
score's own interval decides, as the table shows it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from sweeps.spec.objectives import DIRECTIONS, LOSS
from sweeps.spec.sweep import Promote, Sweep
from sweeps.spec.validation import issues_of
from workers.metrics import catalog
from workers.metrics.bootstrap import paired
from workers.metrics.scorer import Scored

MIN_IMAGES = 30
"""Images below which the bootstrap's intervals are too narrow to rely on."""
EPSILON = 5e-5
"""Smaller differences count as none: four digits do not show them. Without a single match BLEU is
not 0 but a tiny number, which differs between captions with all confidence."""
TERMS = {"images": "test images", "metrics": "metric version", "base": "base revision"}
"""Fields of `Terms`, and the names of their checks."""
_PREFERRED = "cider"
_LISTED = 3  # scores that a line names


class Policy(Promote):
    """The requirements of a promotion: the section ``promote`` of the file, and the options."""

    objective: str
    """Score that must be better."""
    mode: Literal["max", "min"] = "max"
    approved_by: str | None = None
    allow_new_data: bool = False
    """Rescore both where the champion was judged by other images, metrics or base."""
    dry_run: bool = False
    """Judge, but register nothing and change no champion."""

    @classmethod
    def of(
        cls,
        sweep: Sweep,
        *,
        to: str | None = None,
        margin: float | None = None,
        approved_by: str | None = None,
        allow_new_data: bool = False,
        dry_run: bool = False,
    ) -> "Policy":
        """Return the policy of a sweep; `to` and `margin` replace the file's model and margin.

        Raises ValueError when no model is named, for an invalid option, and when no score can
        be the objective.
        """
        options = {"model": to, "margin": margin}
        values = sweep.promote.model_dump() if sweep.promote else {}
        values |= {name: value for name, value in options.items() if value is not None}
        if "model" not in values:
            raise ValueError("the sweep file has no promote.model; name one with --to")
        if issues := issues_of(Promote, values):  # of the options: the file was checked
            option = {"model": "--to", "margin": "--margin"}
            raise ValueError("; ".join(f"{option[issue.path]} {issue.text}" for issue in issues))
        objective, mode = _objective(sweep)
        values |= {"approved_by": approved_by, "allow_new_data": allow_new_data, "dry_run": dry_run}
        return cls(**values, objective=objective, mode=mode)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The conditions that must be equal before two sets of scores are compared."""

    images: str
    """Digest of the images, their questions and their references."""
    metrics: str
    """Versions of the metrics."""
    base: str
    """The base model and its revision, or the digest of its files."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One condition of a promotion."""

    name: str
    passed: bool
    measured: str
    required: str

    def __str__(self) -> str:
        return f"{self.name}: {self.measured}; required: {self.required}"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The measurements of one side."""

    title: str
    terms: Terms
    scored: Scored = field(repr=False)
    adapter_mb: float
    """Weights of the adapter in 1e6 bytes; 0 for the bare base."""
    latency_ms: float
    """Median time of a caption."""
    checks: tuple[Check, ...] = ()
    """Checks that need it loaded: the serve check of a challenger."""


@dataclass(frozen=True, kw_only=True)
class MetricDelta:
    """One score of both sides; a gain is positive where the challenger is better."""

    output: str
    mode: Literal["max", "min"] | None
    """The better direction; None for a description, which has none."""
    challenger: float
    champion: float
    gain: float
    """Challenger minus champion, or the reverse where smaller is better."""
    low: float
    high: float
    p: float

    @property
    def better(self) -> bool:
        """Whether the challenger is significantly better."""
        return self.mode is not None and self.low > EPSILON

    @property
    def worse(self) -> bool:
        """Whether the challenger is significantly worse."""
        return self.mode is not None and self.high < -EPSILON

    @property
    def cells(self) -> list[str]:
        """Its row in a table of scores."""
        significance = "better" if self.better else "worse" if self.worse else ""
        return [
            self.output,
            f"{self.challenger:.4f}",
            f"{self.champion:.4f}",
            f"{self.gain:+.4f}",
            f"{self.low:+.4f} to {self.high:+.4f}",
            "<0.001" if self.p < 0.001 else f"{self.p:.3f}",
            significance or ("no significant difference" if self.mode else "not judged"),
        ]

    def __str__(self) -> str:
        return f"{self.output} {self.gain:+.4f} ({self.low:+.4f} to {self.high:+.4f})"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The gate's decision, with everything that it is based on."""

    challenger: str
    champion: str
    terms: Terms
    """The challenger's."""
    checks: tuple[Check, ...]
    deltas: tuple[MetricDelta, ...] = ()
    """The objective's first; empty when the two were not compared."""
    images: int = 0
    """Images that both captioned."""
    confidence: float = 0.95
    evidence: Evidence | None = field(default=None, repr=False)
    """The challenger's; None when it was refused before anything was measured."""

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The checks that failed, as text."""
        return tuple(str(check) for check in self.checks if not check.passed)

    @property
    def gain(self) -> MetricDelta | None:
        """The objective's delta; None when the two were not compared."""
        return self.deltas[0] if self.deltas else None

    @property
    def headline(self) -> str:
        """The verdict in a sentence."""
        result, gain = "passed" if self.passed else "refused", self.gain
        if gain is None:
            return f"{result}: {self.challenger} was not compared with {self.champion}"
        return (
            f"{result}: {gain.output} {gain.challenger:.4f} against {gain.champion:.4f} of "
            f"{self.champion}, gain {gain.gain:+.4f} ({self.confidence * 100:g} % interval "
            f"{gain.low:+.4f} to {gain.high:+.4f}) on {self.images} test images"
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons to doubt the verdict."""
        if not self.deltas or self.images >= MIN_IMAGES:
            return ()
        few = f"intervals of fewer than {MIN_IMAGES} are too narrow to rely on"
        return (f"only {self.images} test images: {few}",)

    @property
    def tables(self) -> list[list[list[str]]]:
        """The table of scores, where the two were compared, and that of checks; headers first."""
        scores = ["score", "challenger", "champion", "gain", "interval", "p", ""]
        checks = [
            [check.name, "passed" if check.passed else "FAILED", check.measured, check.required]
            for check in self.checks
        ]
        compared = [[scores, *(delta.cells for delta in self.deltas)]] if self.deltas else []
        return [*compared, [["check", "", "measured", "required"], *checks]]

    def markdown(self) -> str:
        """Return the verdict with its tables, for the version's page in MLflow."""
        lines = [f"**{self.headline}**", *(f"- because of {reason}" for reason in self.reasons)]
        for table in self.tables:
            head, *rows = ["| " + " | ".join(cells) + " |" for cells in table]
            lines += ["", head, "|" + "---|" * len(table[0]), *rows]
        return "\n".join([*lines, *(f"\n{warning}" for warning in self.warnings)])


def compare_terms(new: Terms, old: Terms | None, *, rescored: bool) -> tuple[Check, ...]:
    """Check that a challenger is judged as the champion was; `old` is None if that is not known.

    With `rescored` both are scored by the challenger's terms: differences are shown and pass.
    """

    def short(value: str | None) -> str:
        is_digest = value and len(value) == 64 and set(value) <= set("0123456789abcdef")
        return value[:12] if value and is_digest else value or "not known"

    before: Mapping[str, str] = asdict(old) if old else {}
    checks = []
    for part, value in asdict(new).items():
        then = before.get(part)
        measured = required = "the champion's"
        if value != then:
            measured = f"{short(value)}, for the champion {short(then)}"
            required = "as for the champion, or --allow-new-data, which rescores both"
            if rescored:
                required = "any: both were rescored"
        passed = value == then or rescored
        checks.append(Check(name=TERMS[part], passed=passed, measured=measured, required=required))
    return tuple(checks)


def judge(
    challenger: Evidence, champion: Evidence, policy: Policy, earlier: Sequence[Check] = ()
) -> Verdict:
    """Compare two sides that captioned the same images; `earlier` are the checks made before.

    Raises ValueError for evidence of other images, other metrics or without the objective.
    """
    deltas = _deltas(challenger.scored, champion.scored, policy)
    gain, others = deltas[0], deltas[1:]
    interval = f"{policy.confidence * 100:g} % interval {gain.low:+.4f} to {gain.high:+.4f}"
    gained = Check(
        name=f"gain in {gain.output}",
        passed=gain.better and gain.low > policy.margin,
        measured=f"{gain.gain:+.4f}, {interval}",
        required=f"its lower end above {policy.margin:g}",
    )
    worse = [str(delta) for delta in others if delta.worse]
    judged = sum(delta.mode is not None for delta in others)
    found = f"none of {judged} significantly worse"
    if worse:
        more = f"; and {len(worse) - _LISTED} more" if len(worse) > _LISTED else ""
        found = f"worse: {'; '.join(worse[:_LISTED])}{more}"
    required = "no significant loss"
    lost = Check(name="other scores", passed=not worse, measured=found, required=required)
    checks = [*earlier, *challenger.checks, gained, lost]
    limits = [
        ("adapter size", challenger.adapter_mb, policy.max_adapter_mb, "MB"),
        ("latency", challenger.latency_ms, policy.max_latency_ms, "ms per caption"),
    ]
    if policy.max_slowdown is not None:  # else the champion's latency may be of another day
        ratio = challenger.latency_ms / champion.latency_ms
        limits.append(("slowdown", ratio, policy.max_slowdown, "x the champion's latency"))
    for name, value, limit, unit in limits:
        required = "no limit" if limit is None else f"at most {limit:g} {unit}"
        passed = limit is None or value <= limit
        measured = f"{value:.4g} {unit}"
        checks.append(Check(name=name, passed=passed, measured=measured, required=required))
    return Verdict(
        challenger=challenger.title,
        champion=champion.title,
        terms=challenger.terms,
        checks=tuple(checks),
        deltas=deltas,
        images=len(challenger.scored.ids),
        confidence=policy.confidence,
        evidence=challenger,
    )


def _deltas(challenger: Scored, champion: Scored, policy: Policy) -> tuple[MetricDelta, ...]:
    """Return the deltas of all outputs that both have, the objective's first."""
    both = [catalog.get(name) for name in challenger.statistics if name in champion.statistics]
    pools = {metric.name: metric.pool for metric in both}
    found = paired(challenger, champion, pools, confidence=policy.confidence)
    deltas: list[MetricDelta] = []
    for output, direction in [(each, one.direction) for one in both for each in one.outputs]:
        mode, difference = policy.mode if output == policy.objective else direction, found[output]
        gain, low, high = difference.value, difference.low, difference.high
        if mode == "min":
            gain, low, high = -gain, -high, -low
        scores = {"challenger": challenger.corpus[output], "champion": champion.corpus[output]}
        gains = {"gain": gain, "low": low, "high": high, "p": difference.p}
        delta = MetricDelta(output=output, mode=mode, **scores, **gains)
        deltas.insert(0 if output == policy.objective else len(deltas), delta)
    if not deltas or deltas[0].output != policy.objective:
        raise ValueError(f"the objective {policy.objective} is not among the scores of both sides")
    return tuple(deltas)


def _objective(sweep: Sweep) -> tuple[str, Literal["max", "min"]]:
    """Return the score that must be better: the leading objective's, unless that is the loss.

    Captions are served: instead of the loss it is CIDEr, or else the first score with a better
    direction. Raises ValueError when there is none.
    """
    leading = sweep.search.objective
    if leading.metric != LOSS:
        return leading.metric, leading.mode
    scores = {output: DIRECTIONS[output] for output in sweep.outputs() if output in DIRECTIONS}
    if not scores:
        raise ValueError(
            "a promotion is judged by a score of captions: evaluate.metrics must have one with a "
            f"better direction, such as {_PREFERRED}; got {', '.join(sweep.evaluate.metrics)}"
        )
    output = _PREFERRED if _PREFERRED in scores else next(iter(scores))
    return output, scores[output]
