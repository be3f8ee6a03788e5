"""What a sweep optimizes: one score, and after it any number of other quantities.

The first objective leads: it decides which rung of a trial counts, sorts the tables and names
the winner. With others after it the sweep looks for a Pareto front.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from search_spaces.issues import Issue, Keys, SpaceError, raise_any, show
from sweeps.spec.validation import issues_of
from workers.measures import MEASURES
from workers.recipe import Section

LOSS = "loss"
"""The objective that needs no metric: validation loss, smaller is better."""

Mode = Literal["max", "min"]

FORM = "a section with the keys metric, mode, or a list of such sections"


def directions() -> dict[str, Mode]:
    """Return which way each quantity is better; one without a better way is left out."""
    from workers.metrics.catalog import METRICS

    scores = {
        output: metric.direction
        for metric in METRICS.values()
        for output in metric.outputs
        if metric.direction
    }
    measures = {name: measure.direction for name, measure in MEASURES.items()}
    return {**scores, **measures, LOSS: "min"}


def _mode(metric: Any) -> Mode:
    """Return which way an objective is better; for an unknown one, what most metrics say."""
    return directions().get(metric, "max") if isinstance(metric, str) else "max"


class Objective(Section):
    """One quantity that the sweep optimizes."""

    metric: str = "cider"
    """An output of one of ``evaluate.metrics``, ``loss``, or one of `workers.measures`."""
    mode: Mode = Field(default_factory=lambda values: _mode(values.get("metric")))
    """The quantity's own direction unless given."""


def read_objectives(value: Any) -> tuple[Objective, ...]:
    """Return the objectives that a file has as one section or as a list of sections.

    Raises `SpaceError` with all that is wrong with them.
    """
    if isinstance(value, tuple):  # they were read before
        return value
    if value == []:
        raise SpaceError(Issue((), f"must be {FORM}", show(value)))
    listed = isinstance(value, list)
    sections = {(str(index),): each for index, each in enumerate(value)} if listed else {(): value}
    raise_any(issue for at, section in sections.items() for issue in _issues(at, section))
    return tuple(map(Objective.model_validate, sections.values()))


def form(objectives: tuple[Objective, ...]) -> Any:
    """Return the objectives as a file has them; one alone needs no list."""
    sections = [objective.model_dump() for objective in objectives]
    return sections if len(sections) > 1 else sections[0]


def _issues(at: Keys, section: Any) -> Iterator[Issue]:
    if not isinstance(section, Mapping):
        must = "a section with the keys metric, mode" if at else FORM
        yield Issue(at, f"must be {must}", show(section))
        return
    for issue in issues_of(Objective, section):
        yield issue.below(*at)
