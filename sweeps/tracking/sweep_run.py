"""A sweep's parent run, as the driver sees it: opened, its trials ended, closed.

It is opened only where MLflow answers. All that comes after that goes through the sweep's record.
"""

import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sweeps import names
from sweeps.results import record, scores_file
from sweeps.results.folder import SweepFolder
from sweeps.tracking import limits
from sweeps.tracking.client import Tracking, find_runs, find_trials, open_run, user
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
        run_id = open_run(client, experiment_id, found[0] if found else None, sweep_id, every)
        client.log_text(run_id, sweep_yaml, "sweep.yaml")
        run = cls(
            tracking=tracking, sweep_id=sweep_id, experiment_id=experiment_id,
            run_id=run_id, client=client,
        )  # fmt: skip
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
        return cls(
            tracking=tracking, sweep_id=sweep_id, experiment_id=experiment_id,
            run_id=found[0].info.run_id, client=client,
        )  # fmt: skip

    @cached_property
    def folder(self) -> SweepFolder:
        """The folder of the sweep."""
        return SweepFolder(root=self.tracking.root, sweep_id=self.sweep_id)

    @cached_property
    def publisher(self) -> Publisher:
        """What brings MLflow up to the records of the sweep."""
        return Publisher(self.tracking, self.folder, self.run_id)

    def trials(self) -> list[Any]:
        """Return the runs of all trials."""
        return find_trials(self.client, self.experiment_id, self.run_id, names.has_tag("trial.id"))

    @property
    def connection(self) -> MlflowConnection:
        """The connection to MLflow, to read where it may be away."""
        return connection_to(self.tracking)

    def log(self, **logged: Any) -> None:
        """Put on record what the sweep's run is to show, see `sweeps.tracking.projection`."""
        self._record("logged", logged=logged)

    @property
    def is_running(self) -> bool:
        """Whether MLflow takes the sweep for running."""
        return str(self.client.get_run(self.run_id).info.status) == "RUNNING"

    def interrupt(self) -> None:
        """End the sweep's run whose driver died."""
        self._record("ended", state="interrupted")

    def close_running(self) -> None:
        """End as interrupted every trial that a host has opened and nobody has ended."""
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
        ended = [line.values for line in record.lines(self.folder.events) if line.event == "ended"]
        if not any(one.get("trial") == trial and one["opened"] >= opened for one in ended):
            reason = redact(reason) if reason else None
            self._record("ended", trial=trial, state=state, reason=reason, opened=opened)

    def fetch_scores(self, over: Collection[str]) -> None:
        """Bring down the scores of trials that go on and have them in MLflow alone.

        Those of format 1 do, whose hosts asked MLflow for them; `over` are the trials that ended.
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
        """End the sweep's run, and as interrupted every trial that nobody ended.

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
    """Return the filter of a sweep's own run: of all runs with its id only that has a state."""
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
