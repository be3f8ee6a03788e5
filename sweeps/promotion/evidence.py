"""Measuring one side of a promotion: it captions the test images as it would be served."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from sweeps.promotion.adapters import followed
from sweeps.promotion.held_out import HeldOut
from sweeps.promotion.verdict import Evidence, Terms
from sweeps.quiet import quiet_libraries
from workers.measures import PREFIX, latency_ms
from workers.measures import adapter as adapter_measures
from workers.metrics.catalog import VERSION
from workers.metrics.scorer import Scorer
from workers.recipe import Recipe

if TYPE_CHECKING:
    from workers.inference.predict import Adapted

_QUICK = 100
"""So many images are captioned without a word about how far it is."""

Look = Callable[["Adapted"], None]
"""Uses a loaded side for something else before it is let go."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A side as it is found: an adapter on this machine, or the bare base."""

    title: str
    recipe: Recipe
    adapter: Path | None
    """Folder as peft saves it; None for the bare base."""

    @property
    def bare(self) -> "Candidate":
        """The base of this one without an adapter."""
        title = f"{self.recipe.model.base} without an adapter"
        return Candidate(title=title, recipe=self.recipe, adapter=None)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where both sides are measured alike."""

    held_out: HeldOut
    scorer: Scorer
    batch_size: int
    """Images at a time."""
    console: Console

    def measure(self, side: Candidate, terms: Terms, look: Look | None = None) -> Evidence:
        """Load a side, let it caption all images, score them, and let it go.

        Its own beams, prompt, length and quantization, as it is served. `look` gets the loaded
        side. Raises ValueError for one that cannot be loaded.
        """
        from workers.memory.errors import release

        try:
            captions, seconds = self._captions(side, look)
        finally:
            release()
        return Evidence(
            title=side.title,
            terms=terms,
            scored=self.scorer.score(captions),
            adapter_mb=_adapter_mb(side.adapter),
            latency_ms=latency_ms(seconds, self.batch_size),
        )

    def _captions(self, side: Candidate, look: Look | None) -> tuple[dict[str, str], list[float]]:
        quiet_libraries()  # before their first import, which is when they talk
        from workers.families.prompts import Asking
        from workers.inference.predict import Adapted, predict

        recipe, samples = side.recipe, self.held_out.samples
        self.console.print(f"{side.title}: {len(samples)} test images", soft_wrap=True)
        adapted = Adapted.load(recipe.model, recipe.quantization, side.adapter)
        if look:
            look(adapted)
        evaluate = recipe.evaluate.model_copy(update={"batch_size": self.batch_size})
        seconds: list[float] = []
        asking = Asking(task=recipe.task, prompt=recipe.prompt)
        written = predict(adapted, samples, asking, evaluate, seconds)
        seen = followed(written, len(samples), self.console) if len(samples) > _QUICK else written
        return {each.image_id: each.caption for each in seen}, seconds


def terms_of(recipe: Recipe, held_out: HeldOut) -> Terms:
    """Return by what a recipe's adapter is judged here and now."""
    from workers.models.identity import identity

    return Terms(
        images=held_out.digest,
        metrics=f"{VERSION}, pycocoevalcap {version('pycocoevalcap')}",
        base=identity(recipe.model),
    )


def _adapter_mb(folder: Path | None) -> float:
    if folder is None:
        return 0.0
    from workers.models.adapters import read_weights

    weights: Any = read_weights(folder).values()
    return adapter_measures(weights)[f"{PREFIX}adapter_mb"]
