"""When the features of images can be kept: the whole way from pixels to them is frozen."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from workers.models.targets import adapted_layers
from workers.recipe import Adapter

if TYPE_CHECKING:
    from workers.families.base import Base, Family


def vision_is_frozen(adapter: Adapter, base: "Base") -> bool:
    """Tell whether an adapter changes nothing that image features depend on.

    False where it is not known which modules these are.
    """
    return leaves_vision(adapter, base.family, adapted_layers(adapter, base))


def leaves_vision(adapter: Adapter, family: "Family", layers: Sequence[str]) -> bool:
    """Tell the same of an adapter on the `layers` of a base of this family."""
    if not family.vision or adapter.bias == "all":
        return False
    changed = [f"{path}." for path in (*layers, *adapter.trained_modules)]
    frozen = [f"{module}." for module in family.vision]
    return not any(
        path.startswith(module) or module.startswith(path) for path in changed for module in frozen
    )


@contextmanager
def vision_in_eval_mode(base: "Base") -> Iterator[None]:
    """Keep the frozen image encoder in eval mode for a while, in whatever mode the model is.

    Features have no dropout. BLIP-2's Q-Former, for one, has some of its own, which
    `model.train()` turns on: noise, where nothing is trained.
    """
    parts = (base.model.get_submodule(path) for path in base.family.vision)
    modules = [module for part in parts for module in part.modules() if module.training]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module in modules:
            module.training = True
