"""What a host does before its first trial, so that it need not wait."""

from contextlib import suppress
from typing import TYPE_CHECKING

from sweeps.host.context import SweepContext
from sweeps.results import pictures

if TYPE_CHECKING:
    from workers.evaluation.scoring import MakeScorer, Scoring
    from workers.host.host import Host

_NAME = "warm-up"


def begin_scoring(context: SweepContext, make_scorer: "MakeScorer | None") -> "Scoring":
    """Return what a host scores captions with; its scorer begins to load while torch does."""
    from workers.evaluation.scoring import Scoring

    scoring = Scoring(make_scorer) if make_scorer else Scoring()
    with suppress(Exception):  # `warm_up` raises it, to whom it concerns
        scoring.scorer(context.sweep.recipe)
    return scoring


def warm_up(context: SweepContext, host: "Host") -> list[str]:
    """Load data and base and score zero-shot once.

    Returns lines for the user: how many images there are, and what was skipped.
    """
    recipe = context.sweep.recipe
    data_set, scored = host.data_set(recipe), host.scored_samples(recipe)
    untrained = host.admit(_NAME, recipe).predictions
    host.evict(_NAME)
    pictures.keep(context.folder.scored_images, scored, untrained)
    counts = ", ".join(f"{len(part)} {split}" for split, part in data_set.splits.items())
    return [f"images: {counts}", *(f"skipped: {problem}" for problem in data_set.problems)]
