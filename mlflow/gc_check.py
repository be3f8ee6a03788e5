"""Refuses garbage collection while it would take the files of a registered version or a ledger.

`mlflow gc` deletes runs, experiments and models that are marked as deleted, whatever the registry
says of them. Ends with 1 and one line for each thing that must be brought back first.
"""

import sys
from collections.abc import Iterator
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from roles import LEDGER, NOT_YET


def main() -> None:
    """Print what is in danger; exit with 1 when something is."""
    found = list(dangers(MlflowClient()))
    for danger in found:
        print(f"error: {danger}", file=sys.stderr)
    sys.exit(1 if found else 0)


def dangers(client: Any) -> Iterator[str]:
    """Yield, in words, each registered version and ledger that would lose something."""
    for version in pages(client.search_model_versions):
        reason = _reason(client, version)
        if reason:
            yield f"{version.name} version {version.version} needs {version.source}: {reason}"
    for experiment in pages(client.search_experiments, view_type=ViewType.DELETED_ONLY):
        if experiment.name.startswith(LEDGER) and NOT_YET not in experiment.name:
            yield f"the experiment {experiment.name!r} is deleted; {_restore(experiment)}"


def pages(search: Any, **arguments: Any) -> Iterator[Any]:
    """Yield everything that a search of MLflow's client finds."""
    token = None
    while True:
        page = search(page_token=token, **arguments)
        yield from page
        token = page.token
        if not token:
            return


def _reason(client: Any, version: Any) -> str | None:
    """Return what is deleted of all that a version needs; None when nothing is."""
    model_id = version.source.removeprefix("models:/")
    try:
        if model_id.startswith("m-"):
            experiment_id = client.get_logged_model(model_id).experiment_id
        elif version.run_id:
            run = client.get_run(version.run_id).info
            if run.lifecycle_stage == "deleted":
                return f"that run is deleted; mlflow runs restore --run-id {run.run_id}"
            experiment_id = run.experiment_id
        else:
            return None
        experiment = client.get_experiment(experiment_id)
    except MlflowException as error:
        return f"it is gone or deleted ({error.message.splitlines()[0]}); delete the version first"
    if experiment.lifecycle_stage == "deleted":
        return f"its experiment {experiment.name!r} is deleted; {_restore(experiment)}"
    return None


def _restore(experiment: Any) -> str:
    return f"mlflow experiments restore -x {experiment.experiment_id}"


if __name__ == "__main__":
    main()
