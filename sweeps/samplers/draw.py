"""What a sampler is told before it draws a point."""

from collections.abc import Iterator
from dataclasses import dataclass

from search_spaces.issues import Issue
from search_spaces.space import Space


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One draw of a sweep. A sampler is made anew for each, from nothing but this and the study.

    So a sweep that was stopped and resumed goes on with the points that it would have had.
    """

    sweep_seed: int
    trial: int = 0
    """Number of the trial that the point is for."""
    attempt: int = 0
    """Points that were drawn for the trial before, and refused."""
    refused: int = 0
    """Points of the whole study that rules have refused."""

    @property
    def seed(self) -> int:
        """A seed of the draw's own."""
        return (self.sweep_seed * 1_000_003 + self.trial + 104_729 * self.attempt) % 2**32


def conditional_issues(sampler: str, space: Space) -> Iterator[Issue]:
    """Yield the conditional domains of a space, for samplers that would draw them at random."""
    for path, domain in space.items():
        if domain.when:
            must = (
                f"must be without conditions: {sampler} learns only what every point has; "
                "tpe, random and grid take conditional domains"
            )
            yield Issue((path, "when"), must, ", ".join(domain.when))
