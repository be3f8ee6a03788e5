"""A base model that stays in memory while the adapters on it change."""

from pathlib import Path

import torch

from workers.families.prompts import Asking
from workers.inference.captioner import Captioner
from workers.models.adapters import AdaptedBase
from workers.models.loading import load_base
from workers.recipe import Recipe


class Resident:
    """A loaded base and the adapters on it, by name.

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
        """Tell whether an adapter of `recipe` can share this base with those it has.

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
            self._fill(name, weights)
        except Exception:
            self.detach(name)
            raise
        finally:
            self._active = None
        return Captioner(
            base=self._adapted.base,
            model=lambda: self._with(name),
            asking=Asking(task=recipe.task, prompt=recipe.prompt),
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

    def _fill(self, name: str, weights: dict[str, torch.Tensor]) -> None:
        expected = self._adapted.weights(name).keys()
        unlike = sorted(expected ^ weights.keys())
        if unlike:  # peft would skip them in silence
            raise ValueError(
                f"the adapter does not fit its recipe: {len(unlike)} weights are missing or left "
                f"over, such as {unlike[0]!r}"
            )
        self._adapted.load_weights(name, weights)

    def _with(self, name: str) -> object:
        """Return the model with the adapter `name`, in eval mode; switch only where needed."""
        if self._active != name:
            self._adapted.activate(name)
            self._adapted.model.eval()
            self._active = name
        return self._adapted.model
