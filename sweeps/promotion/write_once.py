"""A list in MLflow that many processes append to, and in which nothing is ever changed.

Its values are parameters of one run. MLflow accepts a parameter once and refuses another value
for it, also when both come at the same moment: that is the compare-and-set on which the ledger
stands, which aliases do not have. The run is alone in an experiment whose name is unique.
"""

import uuid
from dataclasses import replace
from typing import Any

from sweeps import names
from sweeps.promotion.entries import LedgerError
from sweeps.tracking.client import Tracking, find_runs

_KEY = "entry."
_KIND = "ledger"
"""Tag of the run that holds the list."""


def find(tracking: Tracking) -> str | None:
    """Return the run of the list called ``tracking.experiment``; None while there is none.

    Raises `LedgerError`, saying how to bring it back, when the experiment or its run was deleted.
    """
    client = tracking.client()
    experiment = client.get_experiment_by_name(tracking.experiment)
    if experiment is None:
        return None
    if experiment.lifecycle_stage == "deleted":
        raise LedgerError(
            f"the experiment {tracking.experiment!r} was deleted in {tracking.address}; bring it "
            f"back with `mlflow experiments restore -x {experiment.experiment_id}`"
        )
    runs = find_runs(client, experiment.experiment_id, names.equals(names.tag(_KIND), "true"))
    if len(runs) != 1:
        raise LedgerError(
            f"the experiment {tracking.experiment!r} in {tracking.address} must have one run with "
            f"the tag {_KIND!r}, got {len(runs)}; a deleted one comes back with `mlflow runs "
            "restore --run-id ID`, the ID stands in the experiment's tag ledger.run"
        )
    return str(runs[0].info.run_id)


def make(tracking: Tracking, note: str) -> str:
    """Return the run of the list, made if missing; `note` is what MLflow's UI says of it.

    Run and experiment are made under a name of their own, and renaming the experiment publishes
    both: names are unique, so of several processes at once one succeeds, and none ever sees an
    experiment without its run.
    """
    found = find(tracking)
    if found is not None:
        return found
    client = tracking.client()
    own = replace(tracking, experiment=f"{tracking.experiment} (begun {uuid.uuid4().hex})")
    experiment_id = own.experiment_id()
    tags = {_KIND: "true", "mlflow.note.content": note}
    run = client.create_run(experiment_id, run_name=tracking.experiment, tags=tags)
    client.set_terminated(run.info.run_id)
    client.set_experiment_tag(experiment_id, "ledger.run", run.info.run_id)
    return _publish(client, tracking, experiment_id)


def _publish(client: Any, tracking: Tracking, experiment_id: str) -> str:
    from mlflow.exceptions import MlflowException

    refused = None
    try:
        client.rename_experiment(experiment_id, tracking.experiment)
    except MlflowException as error:
        refused = error
        client.delete_experiment(experiment_id)
    found = find(tracking)
    if found is None:
        raise LedgerError(
            f"cannot make the experiment {tracking.experiment!r} in {tracking.address}"
        ) from refused
    return found


def values(client: Any, run_id: str) -> dict[int, str]:
    """Return number -> value of all that was appended; numbers begin at 1."""
    params = client.get_run(run_id).data.params
    return {
        int(key.removeprefix(_KEY)): value
        for key, value in params.items()
        if key.startswith(_KEY) and key.removeprefix(_KEY).isdecimal()
    }


def append(client: Any, run_id: str, number: int, value: str) -> bool:
    """Write value `number` of the list; return False when another process was first.

    Values must differ from process to process. Raises `LedgerError` when nothing was written.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.log_param(run_id, f"{_KEY}{number:06d}", value, synchronous=True)
    except MlflowException as error:
        # Refused, or written without our hearing of it: what stands there decides.
        kept = values(client, run_id).get(number)
        if kept is None:
            raise LedgerError(
                f"run {run_id} takes no entry: {error.message.splitlines()[0]}"
            ) from error
        return kept == value
    return True
