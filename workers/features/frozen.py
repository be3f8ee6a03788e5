"""When the features of images can be kept: the whole way from pixels to them is frozen."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from workers.recipe import Adapter

if TYPE_CHECKING:
    from workers.families.base import Base, Family


def vision_is_frozen(adapter: Adapter, base: "Base") -> bool:
    """Say whether an adapter leaves all that sees the image, and the image alone, as it is.

    False where it is not known which modules these are.
    """
    from workers.models.adapters import adapted_layers  # torch, without which `leaves_vision` does

    return leaves_vision(adapter, base.family, adapted_layers(adapter, base))


def leaves_vision(adapter: Adapter, family: "Family", layers: Sequence[str]) -> bool:
    """Say the same of an adapter on the `layers` of a base of this family."""
    if not family.VISION_CHAIN or adapter.bias == "all":
        return False
    return not any(
        _within(path, module) or _within(module, path)
        for path in (*layers, *adapter.trained_modules)
        for module in family.VISION_CHAIN
    )


@contextmanager
def still(base: "Base") -> Iterator[None]:
    """Keep the frozen image encoder in eval mode for a while, whatever the model is in.

    What is kept has no dropout. BLIP-2's Q-Former, for one, has some of its own, which
    `model.train()` turns on: noise, where nothing is trained.
    """
    modules = [
        module
        for path in base.family.VISION_CHAIN
        for module in base.model.get_submodule(path).modules()
        if module.training
    ]
    _set_training(modules, False)
    try:
        yield
    finally:
        _set_training(modules, True)


def _set_training(modules: Iterable[Any], training: bool) -> None:
    for module in modules:
        module.training = training


def _within(path: str, module: str) -> bool:
    return f"{path}.".startswith(f"{module}.")
