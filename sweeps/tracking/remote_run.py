"""A run in MLflow: found by a tag below the run above it, or made. Each write may be repeated.

A write whose answer was lost is made again. What the run has already is not stored twice: metrics
of a rung, those of the best rung, images of a step.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

from sweeps import names
from sweeps.tracking import limits
from sweeps.tracking.client import find_trials, set_tags, user
from sweeps.tracking.trial_run import BEST_RUNG, RUNG_SECONDS
from workers.redaction import redact

ERROR_TAGS = ("trial.error", "trial.guard")
"""Tags of a run that failed; removed when it runs again."""
_NOTHING: Mapping[str, Any] = MappingProxyType({})

Texts = Mapping[str, str]
Numbers = Mapping[str, float]


class RemoteRun:
    """One run, with what this process has read of it; no other process writes to it meanwhile.

    Times are in milliseconds since 1970. Texts may come from anywhere, so they are redacted.

    Args:
        above: the run that it lies below; None for a sweep's own run, which is there.
        tag: key and value by which it is found below that one.
        run_id: its id, where that is known.
    """

    def __init__(
        self, above: "RemoteRun | None", tag: tuple[str, str] | None, run_id: str | None = None
    ) -> None:
        self.run_id = run_id
        self._above, self._tag = above, tag
        self._rungs: set[int] | None = None
        """Rungs that are stored; None before they are read."""
        self._best_rung: int | None = None
        self._tags: dict[str, str] = {}
        self._images: set[str] | None = None
        """Keys and steps of logged images; None before they are read."""

    def find(self, client: Any) -> Any | None:
        """Return MLflow's run, or None while there is none."""
        if self.run_id is not None:
            return client.get_run(self.run_id)
        above = self._run_above(client)
        key, value = self._found_by
        condition = names.equals(names.tag(key), value)
        found = find_trials(client, above.info.experiment_id, above.info.run_id, condition)
        if found:
            self.run_id = str(found[0].info.run_id)
        return found[0] if found else None

    def is_missing(self, client: Any) -> bool:
        """Tell whether there is no such run, or none any more: it may have been deleted."""
        self.run_id = None
        return self.find(client) is None

    def open(
        self, client: Any, *, name: str, tags: Texts, params: Texts, time: int, again: bool = True
    ) -> None:
        """Make the run, or set it running again; without `again` it stays as it ended."""
        tags, long_tags = limits.fit(_redacted(tags), limits.TAG_CHARACTERS)
        params, long_params = limits.fit(_redacted(params), limits.PARAM_CHARACTERS)
        run = self.find(client)
        if run is None:
            self._create(client, name, tags, time)
        elif again:
            self._look(client, run)
            client.update_run(self.run_id, status="RUNNING")
            set_tags(client, str(self.run_id), tags)
            self._tags.update(tags)
            for tag in ERROR_TAGS:
                self.untag(client, tag)
        # Also of a run that is there: its maker may have been killed before.
        self._log(client, params=params)
        self._write(client, {**long_tags, **long_params})

    def rename(self, client: Any, name: str) -> None:
        """Give the run another name."""
        client.update_run(self._id(client), name=name)

    def log(
        self,
        client: Any,
        *,
        time: int,
        metrics: Numbers = _NOTHING,
        rung: int | None = None,
        tags: Texts = _NOTHING,
        best: Numbers = _NOTHING,
    ) -> None:
        """Log metrics at the step `rung` (else 0), tags, and in `best` the metrics of a best rung.

        A rung that is stored stays as it is; so does the best one, unless `best` is of a later
        rung (its number is ``best/rung``).
        """
        if rung is not None or BEST_RUNG in best:
            self._has(client)
        if rung in (self._rungs or ()):
            metrics = {}
        if BEST_RUNG in best and self._best_rung is not None and best[BEST_RUNG] <= self._best_rung:
            best = {}
        tags, whole = limits.fit(_redacted(tags), limits.TAG_CHARACTERS)
        points = [(key, value, rung or 0) for key, value in limits.names(metrics).items()]
        points += [(key, value, 0) for key, value in limits.names(best).items()]
        if points or tags:
            self._log(client, time=time, metrics=points, tags=tags)
        self._write(client, whole)
        self._tags.update(tags)
        if rung is not None and self._rungs is not None:
            self._rungs.add(rung)
        self._best_rung = int(best.get(BEST_RUNG, self._best_rung or 0)) or self._best_rung

    def set_missing_tags(self, client: Any, tags: Texts) -> None:
        """Set those tags that the run has not yet."""
        self._has(client)
        if any(self._tags.get(key) != value for key, value in tags.items()):
            self.log(client, time=0, tags=tags)

    def untag(self, client: Any, key: str) -> None:
        """Remove a tag."""
        self._has(client)
        if key in self._tags:
            client.delete_tag(self.run_id, key)
            del self._tags[key]

    def log_inputs(self, client: Any, inputs: Sequence[Mapping[str, Any]]) -> None:
        """Log the data of training and scoring, see `sweeps.tracking.trial_run.data_inputs`."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        written = [
            DatasetInput(
                Dataset(**each["dataset"]), [InputTag(*tag) for tag in each["tags"].items()]
            )
            for each in inputs
        ]
        client.log_inputs(self._id(client), written)

    def log_file(self, client: Any, path: str, content: Callable[[], bytes]) -> None:
        """Write an artifact, in place of an earlier one."""
        self._id(client)
        self._write(client, {path: content()})

    def log_image(
        self, client: Any, *, key: str, step: int, content: Callable[[], bytes], time: int
    ) -> None:
        """Log an image (PNG) of a step, once."""
        from PIL import Image

        run_id, there = self._id(client), self._images
        if there is None:
            paths = [artifact.path for artifact in client.list_artifacts(run_id, "images")]
            there = {
                path.removeprefix("images/").partition("+timestamp")[0]
                for path in paths
                if path.endswith(".webp")  # of the two files of an image the one written last
            }
        name = f"{key.replace('/', '~')}+step+{step}"
        if name in there:
            return
        self._images = None  # unknown, should the answer be lost
        picture = Image.open(io.BytesIO(content()), formats=("PNG",))
        # Asynchronous images are lost when the process is killed.
        client.log_image(run_id, picture, key=key, step=step, timestamp=time, synchronous=True)
        self._images = {*there, name}

    def set_view(self, client: Any, key: str, text: str) -> None:
        """Put a tag on the run's experiment, which is where MLflow keeps a saved view."""
        client.set_experiment_tag(client.get_run(self.run_id).info.experiment_id, key, text)

    def end(
        self,
        client: Any,
        *,
        status: str,
        tags: Texts,
        time: int,
        error: str | None = None,
        once: bool = False,
    ) -> None:
        """End the run with a status of MLflow; the whole `error` becomes a file.

        With `once`, a run that has ended stays as it is.
        """
        run = self.find(client)
        if run is not None and once and run.info.status != "RUNNING":
            return
        tags, whole = limits.fit(_redacted(tags), limits.TAG_CHARACTERS)
        if run is None:  # the trial failed before it had one; the reason is not to be lost
            self._create(client, self._found_by[1], {}, time)
        self._write(client, {**whole, **({"error.txt": redact(error)} if error else {})})
        self._log(client, tags=tags)
        self._tags.update(tags)
        client.set_terminated(self.run_id, status, time)

    @property
    def _found_by(self) -> tuple[str, str]:
        assert self._tag, "the run of a sweep is there before its trials"
        return self._tag

    def _create(self, client: Any, name: str, tags: Texts, time: int) -> None:
        above = self._run_above(client)
        key, value = self._found_by
        own = {"mlflow.user": user(), "mlflow.source.name": "sweeps", key: value}
        own["mlflow.parentRunId"] = above.info.run_id
        if "sweep.state" in above.data.tags:  # else it is the run of a trial
            own["sweep.id"] = above.data.tags["sweep.id"]
        made = client.create_run(
            above.info.experiment_id, start_time=time, run_name=name, tags={**tags, **own}
        )
        self.run_id = str(made.info.run_id)
        self._tags = dict(made.data.tags)
        self._rungs, self._best_rung, self._images = set(), None, set()

    def _run_above(self, client: Any) -> Any:
        """Return the run above it; raises LookupError where there is none."""
        assert self._above, "a run has an id or lies below another one"
        above = self._above.find(client)
        if above is None:
            raise LookupError(f"{self._above._found_by[1]} has no run in MLflow")
        return above

    def _id(self, client: Any) -> str:
        """Return the run's id, read once."""
        if self.run_id is None and self.find(client) is None:
            raise LookupError("the trial has no run in MLflow, for none could be made")
        return str(self.run_id)

    def _has(self, client: Any) -> None:
        """Read, once, what the run has."""
        if self._rungs is None:
            self._look(client, client.get_run(self._id(client)))

    def _look(self, client: Any, run: Any) -> None:
        history = client.get_metric_history(run.info.run_id, RUNG_SECONDS)
        best = run.data.metrics.get(BEST_RUNG)
        self._best_rung = None if best is None else int(best)
        self._tags, self._images = dict(run.data.tags), None
        self._rungs = {int(point.step) for point in history}

    def _log(
        self,
        client: Any,
        *,
        time: int = 0,
        metrics: Sequence[tuple[str, float, int]] = (),
        tags: Texts = _NOTHING,
        params: Texts = _NOTHING,
    ) -> None:
        """Log in one write; MLflow's client makes several of what is too much for one."""
        from mlflow.entities import Metric, Param, RunTag

        client.log_batch(
            self._id(client),
            metrics=[Metric(key, value, time, step) for key, value, step in metrics],
            params=[Param(key, value) for key, value in params.items()],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )

    def _write(self, client: Any, files: Mapping[str, str | bytes]) -> None:
        """Write files among the run's artifacts, by their paths there."""
        for path, data in files.items():
            with TemporaryDirectory() as folder:
                local = Path(folder) / Path(path).name
                local.write_bytes(data.encode() if isinstance(data, str) else data)
                parent = str(Path(path).parent)
                client.log_artifact(self.run_id, local, None if parent == "." else parent)


def _redacted(texts: Texts) -> dict[str, str]:
    return {key: redact(text) for key, text in texts.items()}
