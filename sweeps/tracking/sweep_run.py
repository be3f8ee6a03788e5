"""A sweep's parent run, as the driver sees it: opened, its trials ended, closed.

It is opened only where MLflow answers. What MLflow cannot be told after that waits in outboxes.
"""

import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sweeps import names
from sweeps.tracking import entries, limits, outbox, segment_run
from sweeps.tracking.client import Tracking, find_runs, find_trials, open_run, user
from sweeps.tracking.connection import AwayError, Line, line_to
from sweeps.tracking.trial_run import STATUS, TrialRun, best_keys
from sweeps.trial import Ending

VERSIONED = (
    "torch", "transformers", "peft", "bitsandbytes", "optuna", "ray", "mlflow", "pycocoevalcap",
)  # fmt: skip
"""Packages whose version every sweep records."""

NOTE = "mlflow.note.content"
"""The tag that MLflow shows as markdown on top of a run."""


@dataclass(frozen=True, kw_only=True)
class SweepRun:
    """The parent run of a sweep. Its trials' runs are written by the hosts and ended here."""

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
        return cls(
            tracking=tracking, sweep_id=sweep_id, experiment_id=experiment_id,
            run_id=run_id, client=client,
        )  # fmt: skip

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

    def kept(self) -> "SweepRun":
        """Return the same for who only puts on disk what a teller sends; not for segments."""
        return replace(self, tracking=replace(self.tracking, sends=False))

    def trials(self) -> list[Any]:
        """Return the runs of all trials."""
        return self._trials(names.has_tag("trial.id"))

    @property
    def line(self) -> Line:
        """The way to MLflow, to read where it may be away."""
        return line_to(self.tracking)

    def tag(self, tags: Mapping[str, str]) -> None:
        """Put tags on the sweep's run."""
        self._outbox.put(entries.batch(tags=tags))

    @property
    def is_running(self) -> bool:
        """Whether MLflow takes the sweep for running."""
        return str(self.client.get_run(self.run_id).info.status) == "RUNNING"

    def interrupt(self) -> None:
        """End the sweep's run whose driver died."""
        self._outbox.put(entries.ended(STATUS["interrupted"], {"sweep.state": "interrupted"}))

    def close_running(self) -> None:
        """End as interrupted every trial that nobody ended; later, when MLflow is away."""
        with suppress(AwayError):
            for run in self.line.attempt(
                lambda _: self._trials(names.equals("attributes.status", "RUNNING"))
            ):
                self.close_trial(run.data.tags["trial.id"], "interrupted")
            self.line.attempt(lambda _: self.close_segments())

    def close_segments(self) -> None:
        """End the segments that a trial which has ended left running."""
        for run in self._trials(names.has_tag(segment_run.LINEAGE)):
            if run.info.status != "RUNNING":
                segment_run.end(
                    self._trial(run.data.tags["trial.id"]), run.data.tags["trial.state"]
                )

    def close_trial(self, trial_id: str, state: Ending, reason: str | None = None) -> None:
        """End a trial's run, once: an ended run stays as it is.

        A trial that failed before its host could open a run gets one here, so that the
        reason is not lost.
        """
        trial = self._trial(trial_id)
        if self.tracking.sends:
            with suppress(AwayError):
                segment_run.end(trial, state)
        trial.end(state, reason, once=True)

    def close(
        self, state: Ending, *, best_trial: str | None, best: Mapping[str, float], note: str
    ) -> None:
        """End the sweep's run, and as interrupted every trial that nobody ended.

        `best` are the metrics of the best trial (``val/cider`` and the like), `note` is
        markdown, shown on top of the run.
        """
        self.close_running()
        self._outbox.put(entries.batch(best_keys(best), {NOTE: note, **self.best_tags(best_trial)}))
        self._outbox.put(entries.ended(STATUS[state], {"sweep.state": str(state)}))

    def best_tags(self, best_trial: str | None) -> dict[str, str]:
        """Return the tags that name the best trial, with its run if MLflow tells it."""
        if best_trial is None:
            return {}
        named = {"sweep.best_trial": best_trial}
        try:
            found = self.line.attempt(
                lambda _: self._trials(names.equals(names.tag("trial.id"), best_trial))
            )
        except AwayError:
            return named
        return {**named, "sweep.best_run": found[0].info.run_id} if found else named

    @property
    def _outbox(self) -> outbox.Outbox:
        return outbox.of_sweep(self.tracking, self.run_id)

    def _trial(self, trial_id: str) -> TrialRun:
        return TrialRun(outbox=outbox.of_trial(self.tracking, self.run_id, trial_id))

    def _trials(self, condition: str) -> list[Any]:
        return find_trials(self.client, self.experiment_id, self.run_id, condition)


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
