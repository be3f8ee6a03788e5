"""A registered version in memory: how it is found, loaded, and what is said of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sweeps.promotion.adapters import SCHEME, model_store, open_adapter, version_of
from sweeps.serving.batcher import Batcher
from sweeps.serving.resident import Resident
from workers.inference.captioner import Captioner
from workers.models.adapters import read_weights
from workers.recipe import Recipe


@dataclass(frozen=True, kw_only=True, eq=False)
class ServedModel:
    """One version of a model, ready to answer."""

    number: str
    """Version in the registry."""
    run_id: str
    metrics: Mapping[str, float]
    """What the trial reached: its metrics that begin with ``best/``, without that."""
    recipe: Recipe
    resident: Resident
    captioner: Captioner
    since: str
    """When it was loaded, in UTC."""

    @property
    def adapter(self) -> str:
        """The adapter's name on its base."""
        return f"version-{self.number}"

    def facts(self) -> dict[str, Any]:
        """Return what ``/model`` says of it."""
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
        batcher.run(lambda: self.resident.detach(self.adapter))


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
        return ServedModel(
            number=number,
            run_id=version.run_id,
            metrics=self._metrics(version.run_id),
            recipe=recipe,
            resident=resident,
            captioner=batcher.run(
                lambda: resident.attach(f"version-{number}", recipe, weights, self.images)
            ),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _version(self, source: str) -> Any:
        tracking = model_store(self.results)
        return version_of(tracking.client(), source, tracking.address)

    def _metrics(self, run_id: str) -> dict[str, float]:
        run = model_store(self.results).client().get_run(run_id)
        return {
            key.removeprefix("best/"): value
            for key, value in sorted(run.data.metrics.items())
            if key.startswith("best/")
        }
