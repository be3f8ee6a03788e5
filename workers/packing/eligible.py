"""Eligibility of trials for a pack."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workers.features.frozen import leaves_vision
from workers.recipe import Recipe

if TYPE_CHECKING:
    from workers.families.base import Family


def why_not_packed(recipe: Recipe, family: "Family", layers: Sequence[str]) -> str | None:
    """Return why a trial that adapts these `layers` of its base trains alone; None if it is packed.

    Layers of a pack must see equally many tokens of each row: some image encoders see the patches
    of all images in one row.
    """
    if recipe.adapter.variant == "dora":
        return "DoRA norms the whole weight of each trial"
    if recipe.adapter.bias != "none":
        return "trained biases belong to the shared layers of the base"
    if recipe.adapter.trained_modules:
        return "trained modules are whole copies of modules of the base"
    if family.traits is not None:
        return family.traits.why_not_packed(layers)
    if family.IMAGES_IN_ROWS or leaves_vision(recipe.adapter, family, layers):
        return None
    return "its adapted layers see all images in one row"
