"""The registered version that answers: found, loaded, and changed without a dropped request."""

import gc
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from sweeps.promotion.adapters import SCHEME, model_store, open_adapter, version_of
from sweeps.serving.batcher import Batcher
from workers.families.prompts import PromptBuilder
from workers.inference.captioner import Captioner
from workers.models.adapters import AdaptedBase, read_weights
from workers.models.attention import of_any_machine
from workers.models.loading import load_base
from workers.recipe import Recipe
from workers.redaction import redact

POLL = 3.0
"""Seconds between looks at the alias."""
RETRY = 60.0
"""Seconds until a version that could not be loaded is tried again."""

log = logging.getLogger(__name__)


class Resident:
    """A base that stays in memory, and the adapters on it, by name.

    Its functions change the model: none may run beside another or beside `Captioner.write`.
    """

    def __init__(self, recipe: Recipe) -> None:
        """Load the base of `recipe`; raises ValueError for one that cannot be loaded."""
        device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
        self._recipe = recipe
        self._adapted = AdaptedBase(
            load_base(of_any_machine(recipe.model), recipe.quantization, device)
        )
        self._active: str | None = None

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the adapters on the base."""
        return self._adapted.names

    def fits(self, recipe: Recipe) -> bool:
        """Return whether an adapter of `recipe` can share this base with those it has.

        One that trains whole modules has a copy of them, which others may not reach into.
        """
        mine = self._recipe
        same_base = (mine.model, mine.quantization) == (recipe.model, recipe.quantization)
        return same_base and not (mine.adapter.trained_modules or recipe.adapter.trained_modules)

    def attach(
        self, name: str, recipe: Recipe, weights: dict[str, torch.Tensor], folder: Path | None
    ) -> Captioner:
        """Add an adapter and return the captioner with it.

        `folder` is where images may be named by path. Raises ValueError, and leaves the base as
        it was, for weights that are not those of the recipe's adapter.
        """
        self._adapted.attach(name, recipe.adapter, seed=0)
        try:
            unlike = sorted(self._adapted.weights(name).keys() ^ weights.keys())
            if unlike:  # peft would skip them in silence
                what = f"{len(unlike)} weights are missing or left over, such as {unlike[0]!r}"
                raise ValueError(f"the adapter does not fit its recipe: {what}")
            self._adapted.load_weights(name, weights)
        except Exception:
            self.detach(name)
            raise
        finally:
            self._active = None
        return Captioner(
            base=self._adapted.base,
            model=lambda: self._with(name),
            prompts=PromptBuilder(task=recipe.task, prompt=recipe.prompt),
            beams=recipe.evaluate.final_beams,
            max_new_tokens=recipe.evaluate.max_new_tokens,
            folder=folder,
        )

    def detach(self, name: str) -> None:
        """Remove an adapter and free its memory."""
        self._adapted.detach(name)
        self._active = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _with(self, name: str) -> object:
        """Return the model with the adapter `name`, in eval mode; switch only where needed."""
        if self._active != name:
            self._adapted.activate(name)
            self._adapted.model.eval()
            self._active = name
        return self._adapted.model


@dataclass(frozen=True, kw_only=True, eq=False)
class ServedModel:
    """One version of a model, ready to answer."""

    number: str
    """Version in the registry."""
    run_id: str
    metrics: Mapping[str, float]
    """The best metrics of its trial: those that begin with ``best/``, without that."""
    recipe: Recipe
    resident: Resident
    captioner: Captioner
    since: str
    """When it was loaded, in UTC."""

    def facts(self) -> dict[str, Any]:
        """Return its part of ``/model``."""
        return {
            "version": self.number,
            "run_id": self.run_id,
            "metrics": dict(self.metrics),
            "task": self.recipe.task,
            "base": self.recipe.model.base,
            "revision": self.recipe.model.revision,
            "quantization": self.recipe.quantization,
            "since": self.since,
        }

    def free(self, batcher: Batcher) -> None:
        """Take the adapter from its base, between batches."""
        batcher.run(lambda: self.resident.detach(f"version-{self.number}"))


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A model of the registry, of which the version with an alias is served."""

    name: str
    alias: str
    results: Path
    """Folder of the embedded store, see `sweeps.promotion.adapters.open_adapter`."""
    images: Path | None = None
    """Folder of images that may be named by path."""

    def number(self) -> str:
        """Return the version that has the alias now; raises ValueError when none has it."""
        return str(self._version(f"{SCHEME}{self.name}@{self.alias}").version)

    def load(self, number: str, batcher: Batcher, beside: ServedModel | None) -> ServedModel:
        """Load a version, on the base of `beside` where that fits.

        Raises ValueError or OSError for one that cannot be loaded; `beside` stays as it was.
        """
        source = f"{SCHEME}{self.name}/{number}"
        version = self._version(source)
        with open_adapter(source, self.results) as found:
            recipe, weights = found.recipe, read_weights(found.path)
        shared = beside is not None and beside.resident.fits(recipe)
        resident = beside.resident if beside and shared else Resident(recipe)
        run = model_store(self.results).client().get_run(version.run_id)
        best = {key: value for key, value in run.data.metrics.items() if key.startswith("best/")}
        name = f"version-{number}"
        return ServedModel(
            number=number,
            run_id=version.run_id,
            metrics={key.removeprefix("best/"): best[key] for key in sorted(best)},
            recipe=recipe,
            resident=resident,
            captioner=batcher.run(lambda: resident.attach(name, recipe, weights, self.images)),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _version(self, source: str) -> Any:
        tracking = model_store(self.results)
        return version_of(tracking.client(), source, tracking.address)


class Keeper:
    """Keeps the version that has the alias in memory.

    When the alias moves, the new version is loaded beside the old one, calls that come from then
    on go to it, and the old one is freed when its last call is answered.
    """

    def __init__(self, model: Registered, batcher: Batcher) -> None:
        """Load the version that has the alias; raises ValueError or OSError when it cannot."""
        self.model = model
        self.batcher = batcher
        self._failure: dict[str, str] | None = None
        """Version and reason, of one that has the alias and could not be loaded."""
        self._failed = 0.0
        """When that was, in seconds on `time.monotonic`."""
        self._unreachable: str | None = None
        self._change = threading.Condition()
        self._calls: Counter[ServedModel] = Counter()
        self._current = model.load(model.number(), batcher, beside=None)
        self._ended = threading.Event()

    @contextmanager
    def lease(self) -> Iterator[ServedModel]:
        """Give the version that answers a call; it stays loaded as long as the block lasts."""
        with self._change:
            served = self._current
            self._calls[served] += 1
        try:
            yield served
        finally:
            with self._change:
                self._calls[served] -= 1
                self._change.notify_all()

    def facts(self) -> dict[str, Any]:
        """Return the content of ``/model``: the version, and what prevents a newer one."""
        return {
            "model": self.model.name,
            "alias": self.model.alias,
            **self._current.facts(),
            "failed": self._failure,
            "registry": self._unreachable or "reachable",
        }

    def follow(self) -> None:
        """Look at the alias every `POLL` seconds, in a thread, until `close`."""

        def poll() -> None:
            while not self._ended.wait(POLL):
                self.refresh()

        threading.Thread(target=poll, name="alias", daemon=True).start()

    def close(self) -> None:
        """Follow no longer."""
        self._ended.set()

    def refresh(self) -> None:
        """Change to the version that has the alias now; with a failure the old one stays."""
        try:
            number = self.model.number()
        except Exception as error:  # MLflow and the network have many
            if self._unreachable is None:
                current = self._current.number
                log.error("the alias cannot be read, version %s stays: %s", current, _line(error))
            self._unreachable = _line(error)
            return
        self._unreachable = None
        if number == self._current.number:
            self._failure = None
            return
        failed = self._failure is not None and self._failure["version"] == number
        if failed and time.monotonic() - self._failed < RETRY:
            return
        try:
            new = self.model.load(number, self.batcher, beside=self._current)
        except Exception as error:  # whatever it is, the old version stays
            current, reason = self._current.number, _line(error)
            self._failure, self._failed = {"version": number, "reason": reason}, time.monotonic()
            log.error("version %s cannot be loaded, version %s stays: %s", number, current, reason)
            return
        with self._change:
            old, self._current = self._current, new
            self._failure = None
            while self._calls[old]:  # until its last call is answered
                self._change.wait()
            del self._calls[old]
        log.info("version %s answers, no longer version %s", new.number, old.number)
        if old.resident is new.resident:
            old.free(self.batcher)
        del old
        gc.collect()  # a base of its own goes with its last reference


def _line(error: Exception) -> str:
    return redact(" ".join(f"{type(error).__name__}: {error}".split()))[:500]
