"""What a host does before its first trial, so that it need not wait."""

import platform
from contextlib import suppress
from typing import TYPE_CHECKING

from sweeps.host.context import SweepContext
from sweeps.results import keepsakes
from sweeps.tracking import access
from sweeps.tracking.connection import AwayError, line_to
from sweeps.tracking.entries import batch
from sweeps.tracking.inputs import eval_tags
from sweeps.tracking.outbox import of_sweep

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
    Raises PermissionError, naming this node, when MLflow does not let this host in.
    """
    recipe = context.sweep.recipe
    data_set, scored = host.data_set(recipe), host.scored_samples(recipe)
    if context.tracking.sends:
        _greet(context)
    of_sweep(context.tracking, context.parent_run_id).put(batch(tags=eval_tags(scored)))
    untrained = host.admit(_NAME, recipe).predictions
    host.evict(_NAME)
    keepsakes.keep(context.folder.keepsakes, scored, untrained)
    counts = ", ".join(f"{len(part)} {split}" for split, part in data_set.splits.items())
    return [f"images: {counts}", *(f"skipped: {problem}" for problem in data_set.problems)]


def _greet(context: SweepContext) -> None:
    """Raise PermissionError when MLflow does not let this host in.

    An MLflow that is away stops nothing: what is reported waits in the outbox.
    """
    tracking, run_id = context.tracking, context.parent_run_id
    with (
        suppress(AwayError),
        access.explained(f"{tracking.address}, from {platform.node()},"),
    ):
        line_to(tracking).attempt(lambda client: client.get_run(run_id))
