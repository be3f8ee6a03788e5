"""A run in MLflow, as far as this process knows it: found or made, and what it has already."""

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sweeps import names
from sweeps.tracking import entries, limits
from sweeps.tracking.address import Address
from sweeps.tracking.client import find_trials, set_tags, user
from sweeps.tracking.entries import Entry
from sweeps.tracking.stored import BEST_RUNG, Stored, logged_images
from sweeps.tracking.writes import at, log, write

ERROR_TAGS = ("trial.error", "trial.guard")
"""Of a run that ended badly; taken away when it runs again."""


class RemoteRun:
    """Tells MLflow one entry after another; what it has already it is not told again."""

    def __init__(self, address: Address | None, run_id: str | None = None) -> None:
        """Take the run's address, or for a sweep's own run its id."""
        self.address = address
        self.run_id = run_id
        self.stored: Stored | None = None
        self._above: Any | None = None
        self._tell: Mapping[entries.Kind, Callable[[Any, Entry], None]] = {
            "open": self._open,
            "batch": self._batch,
            "untag": self._untag,
            "inputs": self._inputs,
            "artifact": self._artifact,
            "image": self._image,
            "end": self._end,
            "view": self._view,
            "name": self._name,
        }

    def tell(self, client: Any, entry: Entry) -> None:
        """Write an entry to MLflow; told again after its answer was lost, it is stored once."""
        self._tell[entry.kind](client, entry)

    def find(self, client: Any) -> Any | None:
        """Return MLflow's run, or None while there is none."""
        if self.run_id is not None:
            return client.get_run(self.run_id)
        parent = self._parent(client)
        assert self.address
        key, value = self.address.tag
        condition = names.equals(names.tag(key), value)
        found = find_trials(client, parent.info.experiment_id, parent.info.run_id, condition)
        if found:
            self.run_id = str(found[0].info.run_id)
        return found[0] if found else None

    def _open(self, client: Any, entry: Entry) -> None:
        tags, long_tags = limits.fit(entry.values["tags"], limits.TAG_CHARACTERS)
        params, long_params = limits.fit(entry.values["params"], limits.PARAM_CHARACTERS)
        run = self.find(client)
        if run is None:
            run_id = self._create(client, entry, tags, entry.values["name"])
        elif not entry.values["again"]:
            return
        else:
            run_id = str(run.info.run_id)
            self.stored = Stored.of(client, run)
            client.update_run(run_id, status="RUNNING")
            set_tags(client, run_id, tags)
            for tag in ERROR_TAGS:
                if tag in run.data.tags:
                    client.delete_tag(run_id, tag)
                    self.stored.tags.pop(tag, None)
        log(client, run_id, params=params)
        write(client, run_id, {**long_tags, **long_params})

    def _create(self, client: Any, entry: Entry, tags: Mapping[str, str], name: str) -> str:
        assert self.address, "the run of a sweep is there before its trials"
        parent = self._parent(client)
        own = {
            "mlflow.parentRunId": parent.info.run_id,
            "mlflow.user": user(),
            "mlflow.source.name": "sweeps",
            **dict([self.address.tag]),
        }
        if self.address.segment is None:
            own["sweep.id"] = parent.data.tags["sweep.id"]
        made = client.create_run(
            parent.info.experiment_id, start_time=entry.time, run_name=name, tags={**tags, **own}
        )
        self.run_id = str(made.info.run_id)
        tags = dict(made.data.tags)
        self.stored = Stored(rungs=set(), best_rung=None, tags=tags, images=set())
        return self.run_id

    def _parent(self, client: Any) -> Any:
        """Return the run above it; raises ConnectionError for a trial that has none yet."""
        if self._above is None:
            assert self.address, "a run has an address or an id"
            above = client.get_run(self.address.sweep_run_id)
            if self.address.segment is not None:
                above = RemoteRun(replace(self.address, segment=None)).find(client)
            if above is None:
                raise ConnectionError(f"the run of {self.address.trial} is not stored yet")
            self._above = above
        return self._above

    def _batch(self, client: Any, entry: Entry) -> None:
        run_id = self._id(client)
        rung, best = entry.values["rung"], entry.values["best"]
        stored = self._has(client) if rung is not None or best else self.stored
        metrics = {} if stored and rung in stored.rungs else entry.values["metrics"]
        told_best = best and stored and stored.best_rung == int(best[BEST_RUNG])
        tags, whole = limits.fit(entry.values["tags"], limits.TAG_CHARACTERS)
        log(
            client, run_id, tags=tags, time=entry.time,
            metrics=[*at(metrics, rung or 0), *at({} if told_best else best, 0)],
        )  # fmt: skip
        write(client, run_id, whole)
        if stored:
            stored.tags.update(tags)
            stored.rungs.update(() if rung is None else (rung,))
            stored.best_rung = int(best[BEST_RUNG]) if best else stored.best_rung

    def _untag(self, client: Any, entry: Entry) -> None:
        run_id, key = self._id(client), entry.values["key"]
        if key in client.get_run(run_id).data.tags:
            client.delete_tag(run_id, key)
        if self.stored:
            self.stored.tags.pop(key, None)

    def _inputs(self, client: Any, entry: Entry) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        run_id = self._id(client)
        written = [
            DatasetInput(
                Dataset(**each["dataset"]), [InputTag(*tag) for tag in each["tags"].items()]
            )
            for each in entry.values["inputs"]
        ]
        client.log_inputs(run_id, written)

    def _artifact(self, client: Any, entry: Entry) -> None:
        run_id = self._id(client)
        write(client, run_id, {entry.values["path"]: entries.content(entry)})

    def _image(self, client: Any, entry: Entry) -> None:
        from PIL import Image

        run_id, stored = self._id(client), self._has(client)
        there = logged_images(client, run_id) if stored.images is None else stored.images
        key, step = entry.values["key"], entry.values["step"]
        name = f"{key.replace('/', '~')}+step+{step}"
        if name in there:
            return
        stored.images = None  # unknown, should the answer be lost
        picture = Image.open(io.BytesIO(entries.content(entry)), formats=("PNG",))
        # Asynchronous images are lost when the process is killed.
        client.log_image(
            run_id, picture, key=key, step=step, timestamp=entry.time, synchronous=True
        )
        stored.images = {*there, name}

    def _end(self, client: Any, entry: Entry) -> None:
        run = self.find(client)
        if run is not None and entry.values["once"] and run.info.status != "RUNNING":
            return
        tags, whole = limits.fit(entry.values["tags"], limits.TAG_CHARACTERS)
        error = entry.values["error"]
        if run is None:  # the trial failed before it had one; the reason is not to be lost
            assert self.address
            self._create(client, entry, {}, self.address.trial)
        run_id = str(self.run_id)
        write(client, run_id, {**whole, **({"error.txt": error} if error else {})})
        log(client, run_id, tags=tags)
        client.set_terminated(run_id, entry.values["status"], entry.time)

    def _view(self, client: Any, entry: Entry) -> None:
        run = client.get_run(self.run_id)
        client.set_experiment_tag(run.info.experiment_id, entry.values["key"], entry.values["text"])

    def _name(self, client: Any, entry: Entry) -> None:
        client.update_run(self._id(client), name=entry.values["name"])

    def _id(self, client: Any) -> str:
        """Return the run's id; MLflow is asked once."""
        if self.run_id is None and self.find(client) is None:
            raise LookupError("the trial has no run in MLflow, for none could be made")
        return str(self.run_id)

    def _has(self, client: Any) -> Stored:
        """Return what the run has; MLflow is asked once, for nobody else writes its rungs."""
        if self.stored is None:
            self.stored = Stored.of(client, client.get_run(self._id(client)))
        return self.stored
