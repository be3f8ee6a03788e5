"""A registered version in memory: found, loaded on a base that may stay, and described."""

from collections.abc import Mapping
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
from workers.models.loading import load_base
from workers.recipe import Recipe


class Resident:
    """A base that stays in memory, and the adapters on it, by name.

    Its functions change the model: none may run beside another or beside `Captioner.write`.
    """

    def __init__(self, recipe: Recipe) -> None:
        """Load the base of `recipe`; raises ValueError for one that cannot be loaded."""
        device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
        self._recipe = recipe
        self._adapted = AdaptedBase(load_base(recipe.model, recipe.quantization, device))
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
        return (
            mine.model == recipe.model
            and mine.quantization == recipe.quantization
            and not (mine.adapter.trained_modules or recipe.adapter.trained_modules)
        )

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
                raise ValueError(
                    f"the adapter does not fit its recipe: {len(unlike)} weights are missing or "
                    f"left over, such as {unlike[0]!r}"
                )
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
        return ServedModel(
            number=number,
            run_id=version.run_id,
            metrics={
                key.removeprefix("best/"): value
                for key, value in sorted(run.data.metrics.items())
                if key.startswith("best/")
            },
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
