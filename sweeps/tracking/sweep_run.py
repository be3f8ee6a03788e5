"""A sweep's parent run: opened, its trials ended, closed, and its trials' runs found again.

It is opened only where MLflow answers. All that comes after that goes through the sweep's record.
"""

import subprocess
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sweeps import names
from sweeps.results import record, scores_file
from sweeps.results.folder import SweepFolder
from sweeps.tracking import limits
from sweeps.tracking.client import Tracking, find_runs, find_trials, set_tags, user
from sweeps.tracking.connection import MlflowConnection, connection_to
from sweeps.tracking.publisher import Publisher
from sweeps.tracking.trial_run import best_keys
from sweeps.trial import Ending
from workers.redaction import redact

VERSIONED = (
    "torch", "transformers", "peft", "bitsandbytes", "optuna", "ray", "mlflow", "pycocoevalcap",
)  # fmt: skip
"""Packages whose version every sweep records."""

NOTE = "mlflow.note.content"
"""The tag that MLflow shows as markdown on top of a run."""


@dataclass(frozen=True, kw_only=True)
class SweepRun:
    """The parent run of a sweep, and the sweep's own record of what it is to show."""

    tracking: Tracking
    sweep_id: str
    experiment_id: str
    run_id: str
    client: Any = field(repr=False)

    @classmethod
    def open(
        cls, tracking: Tracking, sweep_id: str, sweep_yaml: str, tags: Mapping[str, str]
    ) -> "SweepRun":
        """Return the sweep's run: made, or found and set running again when it is resumed."""
        client, experiment_id = tracking.client(), tracking.experiment_id()
        found = find_runs(client, experiment_id, _parent(sweep_id))
        own = {"sweep.id": sweep_id, "sweep.state": "running"}
        every, _ = limits.fit({**_origin(), **tags, **own}, limits.TAG_CHARACTERS)
        if found:
            client.update_run(found[0].info.run_id, status="RUNNING")
            set_tags(client, found[0].info.run_id, every)
        else:
            found = [client.create_run(experiment_id, run_name=sweep_id, tags=every)]
        run = cls._of(tracking, sweep_id, client, found[0])
        client.log_text(run.run_id, sweep_yaml, "sweep.yaml")
        run._record("opened", format=record.FORMAT)
        return run

    @classmethod
    def find(cls, tracking: Tracking, sweep_id: str) -> "SweepRun":
        """Return the run of an earlier sweep; raises ValueError when it is not tracked there."""
        client, experiment_id = tracking.client(), tracking.experiment_id()
        found = find_runs(client, experiment_id, _parent(sweep_id))
        if not found:
            raise ValueError(
                f"no sweep {sweep_id!r} in experiment {tracking.experiment!r} of {tracking.address}"
            )
        return cls._of(tracking, sweep_id, client, found[0])

    @classmethod
    def _of(cls, tracking: Tracking, sweep_id: str, client: Any, run: Any) -> "SweepRun":
        ids = {"experiment_id": run.info.experiment_id, "run_id": str(run.info.run_id)}
        return cls(tracking=tracking, sweep_id=sweep_id, client=client, **ids)

    @cached_property
    def folder(self) -> SweepFolder:
        """The folder of the sweep."""
        return SweepFolder(root=self.tracking.root, sweep_id=self.sweep_id)

    @cached_property
    def publisher(self) -> Publisher:
        """The publisher of the sweep's records."""
        return Publisher(self.tracking, self.folder, self.run_id)

    def trials(self) -> list[Any]:
        """Return the runs of all trials."""
        return find_trials(self.client, self.experiment_id, self.run_id, names.has_tag("trial.id"))

    def run_ids(self) -> dict[str, str]:
        """Return trial -> id of its run, of the trials that have one."""
        return {run.data.tags["trial.id"]: run.info.run_id for run in self.trials()}

    def run_id_of(self, trial: str) -> str:
        """Return the id of a trial's run; raises ValueError for a trial without one."""
        found = self.run_ids().get(trial)
        if found is None:
            raise ValueError(
                f"{trial} of {self.sweep_id} has no run in MLflow; send it with: "
                f"sweeps sync {self.sweep_id}"
            )
        return found

    def base_scores(self, run_ids: Iterable[str], keys: Collection[str]) -> dict[str, float]:
        """Return the base's scores before training, by their keys in reports (``val/cider``).

        All trials have the same; they are read from the first run that has some.
        """
        for run_id in run_ids:
            found = {
                key: float(point.value)
                for key in keys
                for point in self.client.get_metric_history(run_id, key)
                if point.step == 0
            }
            if found:
                return found
        return {}

    @property
    def connection(self) -> MlflowConnection:
        """The connection to MLflow, to read where it may be away."""
        return connection_to(self.tracking)

    def log(self, **logged: Any) -> None:
        """Put on record what the sweep's run is to show, see `sweeps.tracking.projection`."""
        self._record("logged", logged=logged)

    @property
    def is_running(self) -> bool:
        """Whether the sweep's run in MLflow is running."""
        return str(self.client.get_run(self.run_id).info.status) == "RUNNING"

    def interrupt(self) -> None:
        """End the sweep's run whose driver died."""
        self._record("ended", state="interrupted")

    def close_running(self) -> None:
        """End as interrupted every trial that a host has opened and that is not ended yet."""
        for trial in self.folder.trials():
            if record.openings(record.lines(self.folder.record(trial))):
                self.close_trial(trial, "interrupted")

    def close_trial(self, trial: str, state: Ending, reason: str | None = None) -> None:
        """End a trial's run, once: an ended one stays as it is until a host opens it again.

        A trial that failed before its host could open it gets a run, so that the reason is not
        lost.
        """
        self.folder.pull(self.folder.record(trial))
        opened = record.openings(record.lines(self.folder.record(trial)))
        if self._endings.get(trial, -1) < opened:
            reason = redact(reason) if reason else None
            self._record("ended", trial=trial, state=state, reason=reason, opened=opened)
            self._endings[trial] = opened

    @cached_property
    def _endings(self) -> dict[str, int]:
        """Trial -> how often hosts had opened it when it was ended; only the driver ends trials."""
        lines = [line for line in record.lines(self.folder.events) if line.event == "ended"]
        ended = [line.values for line in lines if "trial" in line.values]
        return {each["trial"]: int(each["opened"]) for each in ended}

    def fetch_scores(self, over: Collection[str]) -> None:
        """Download the scores of trials that continue and have them in MLflow alone.

        Those are trials of format 1, whose hosts read them there; `over` are the trials that ended.
        """
        for run in self.connection.attempt(lambda _: self.trials()):
            trial = run.data.tags["trial.id"]
            file = self.folder.artifact(trial, scores_file.SCORES)
            is_old = not record.openings(record.lines(self.folder.record(trial)))
            if trial in over or not is_old or file.exists():
                continue
            if scores := scores_file.read(self.client, run.info.run_id):
                self.folder.write(file, scores_file.dump(scores))

    def close(
        self, state: Ending, *, best_trial: str | None, best: Mapping[str, float], note: str
    ) -> None:
        """End the sweep's run, and as interrupted every trial that is not ended yet.

        `best` are the metrics of the best trial (``val/cider`` and the like), `note` is
        markdown, shown on top of the run.
        """
        self.close_running()
        self.log(best=best_keys(best), tags={NOTE: redact(note)}, best_trial=best_trial)
        self._record("ended", state=state)

    def _record(self, event: str, **values: Any) -> None:
        record.append_event(self.folder.events, event, **values)
        self.publisher.wake()


def _parent(sweep_id: str) -> str:
    """Return MLflow's filter for a sweep's own run: of the runs with its id, that with a state."""
    named = names.equals(names.tag("sweep.id"), sweep_id)
    return f"{named} AND {names.has_tag('sweep.state')}"


def git_commit(folder: Path) -> str | None:
    """Return the commit checked out in `folder`; None outside git."""
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def _origin() -> dict[str, str]:
    """Return tags of who and what made the sweep: MLflow's own ones, commit, versions."""
    tags = {"mlflow.user": user(), "mlflow.source.name": "sweeps"}
    commit = git_commit(Path.cwd())
    if commit:
        tags["mlflow.source.git.commit"] = commit
    return {**tags, **{f"version.{package}": version(package) for package in VERSIONED}}
