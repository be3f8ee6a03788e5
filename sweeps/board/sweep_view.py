"""The view of a sweep's trials that is saved in MLflow: which columns and charts it shows."""

from sweeps.board.front_view import FRONT
from sweeps.board.view import publish_view
from sweeps.spec import plugins
from sweeps.spec.load import Sweep
from sweeps.tracking.sweep_run import SweepRun
from sweeps.tracking.trial_run import EXAMPLE_IMAGES, LINEAGE


def publish(sweep: Sweep, parent: SweepRun) -> None:
    """Save the view of the trials of a sweep, whose run is `parent`."""
    publish_view(
        parent,
        list(sweep.search.space),
        logarithmic=sweep.logarithmic_fields(),
        objective=sweep.search.objective.metric,
        mode=sweep.search.objective.mode,
        metrics=list(dict.fromkeys([*sweep.search.quantities, *sweep.outputs()]))[1:],
        conditional=[path for path, domain in sweep.search.space.items() if domain.when],
        examples={f"examples/{number}": sweep.train.epochs for number in range(EXAMPLE_IMAGES)},
        tags=_tags(sweep),
    )


def _tags(sweep: Sweep) -> list[str]:
    """Return the tags of trials that only some sweeps have."""
    front = [FRONT] if len(sweep.search.objectives) > 1 else []
    limits = ["trial.violates"] if sweep.search.constraints else []
    lineage = [LINEAGE] if plugins.scheduler(sweep.schedule.name).CHANGES else []
    return [*front, *limits, *lineage]
