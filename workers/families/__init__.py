"""Model families: what differs between GIT, BLIP-2 and the others, and nothing else.

One file and one line in `MODULES` per family; the key is `model_type` of the saved config.
The files import torch for type checking only, so that target sets can be read at once.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    import torch
    from PIL import Image

MODULES = {
    "git": "workers.families.git",
}


class Family(Protocol):
    """What a module of this package offers.

    `processor` is the base's own, as `AutoProcessor` loads it. All functions are pure.
    """

    TARGETS: Mapping[str, str]
    """Target set -> regular expression over full module paths, for `LoraConfig`."""

    def pixels(self, processor: Any, image: "Image.Image") -> "torch.Tensor":
        """Return one image as the vision tower takes it: (channels, height, width), float32."""

    def training_batch(
        self, processor: Any, pixels: "torch.Tensor", captions: Sequence[str]
    ) -> dict[str, "torch.Tensor"]:
        """Return keyword arguments of `forward`, with labels; -100 where nothing is learned.

        `pixels` is (batch, channels, height, width). Padding is on the right.
        """

    def generation_inputs(
        self, processor: Any, pixels: "torch.Tensor"
    ) -> dict[str, "torch.Tensor"]:
        """Return keyword arguments of `generate`. Padding, if any, is on the left."""

    def predicted_tokens(self, labels: "torch.Tensor") -> int:
        """Count the tokens that the loss of a batch with these labels averages over."""

    def decode(
        self, processor: Any, inputs: Mapping[str, "torch.Tensor"], output: "torch.Tensor"
    ) -> list[str]:
        """Return the captions in `generate`'s output (batch, tokens), without the prompt."""


def target_names() -> tuple[str, ...]:
    """Return the names of all families' target sets, without importing torch."""
    modules = (import_module(module) for module in MODULES.values())
    return tuple(dict.fromkeys(name for module in modules for name in module.TARGETS))


def get(model_type: str) -> Family:
    """Return the family of a saved config's `model_type`.

    Raises ValueError for one that is not supported, naming those that are.
    """
    if model_type not in MODULES:
        raise ValueError(
            f"model.base is of type {model_type!r}; supported are {', '.join(sorted(MODULES))}"
        )
    return cast(Family, import_module(MODULES[model_type]))
