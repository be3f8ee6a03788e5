"""The objectives of a sweep: one score, and after it any number of other quantities.

The first objective leads: it decides which rung of a trial counts, sorts the tables and names
the winner. With others after it the sweep looks for a Pareto front.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from search_spaces.issues import Issue, SpaceError, raise_any, show
from sweeps.spec.validation import issues_of
from workers.measures import MEASURES
from workers.metrics.catalog import METRICS
from workers.recipe import Section

LOSS = "loss"
"""The objective that needs no metric: validation loss, smaller is better."""

Mode = Literal["max", "min"]

FORM = "a section with the keys metric, mode, or a list of such sections"

DIRECTIONS: dict[str, Mode] = {
    output: metric.direction
    for metric in METRICS.values()
    for output in metric.outputs
    if metric.direction
}
DIRECTIONS |= {name: measure.direction for name, measure in MEASURES.items()} | {LOSS: "min"}
"""Quantity -> its better direction; quantities without one are left out."""


class Objective(Section):
    """One quantity that the sweep optimizes."""

    metric: str = "cider"
    """An output of one of ``evaluate.metrics``, ``loss``, or one of `workers.measures`."""
    mode: Mode = Field(default_factory=lambda values: DIRECTIONS.get(values.get("metric"), "max"))
    """The quantity's own direction unless given; of an unknown one, that of most metrics."""


def read_objectives(value: Any) -> tuple[Objective, ...]:
    """Return the objectives that a file has as a section or a list of them; raises `SpaceError`."""
    if isinstance(value, tuple):  # they were read before
        return value
    if value == []:
        raise SpaceError(Issue((), f"must be {FORM}", show(value)))
    listed = isinstance(value, list)
    sections = {(str(index),): each for index, each in enumerate(value)} if listed else {(): value}
    issues: list[Issue] = []
    for at, section in sections.items():
        if isinstance(section, Mapping):
            issues += (issue.below(*at) for issue in issues_of(Objective, section))
        else:
            must = "a section with the keys metric, mode" if at else FORM
            issues.append(Issue(at, f"must be {must}", show(section)))
    raise_any(issues)
    return tuple(map(Objective.model_validate, sections.values()))


def objectives_form(objectives: tuple[Objective, ...]) -> Any:
    """Return the objectives as a file has them; one alone needs no list."""
    sections = [objective.model_dump() for objective in objectives]
    return sections if len(sections) > 1 else sections[0]
