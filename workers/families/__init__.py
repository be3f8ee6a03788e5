"""Model families: what differs between GIT, BLIP-2 and the others, and nothing else.

One file and one line in `MODULES` per family; the key is `model_type` of the saved config.
The files import torch for type checking only, so that target sets can be read at once.

A family turns an image into tensors and a prompt and a target into token numbers. Padding,
label masks and truncation are the same for all: see `workers.collation`.
"""

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from workers.models import Base
    from workers.prompts import Prompt

MODULES = {
    "git": "workers.families.git",
    "blip-2": "workers.families.blip2",
    "qwen2_5_vl": "workers.families.qwen2_5_vl",
    "paligemma": "workers.families.paligemma",
}
GENERIC = "workers.families.generic"
"""For any other architecture that transformers loads and whose processor has a chat template."""

IMAGE_TOKENS = "image_tokens"
"""Key of an encoded image that `prompt_tokens` reads and the model does not get."""
REGEX = "re:"
"""Begins an ``adapter.targets`` that is a regular expression of the user's own."""

Encoded = Mapping[str, "torch.Tensor"]
"""One image as its model takes it. Each tensor has a leading axis along which those of several
images are joined; image 1 may have more rows than image 2."""


class Family(Protocol):
    """What a module of this package offers. All functions but `load_processor` are pure."""

    TARGETS: Mapping[str, str]
    """Target set -> regular expression over full paths of linear layers, for `LoraConfig`.
    Every family has ``text``, ``text_all``, ``vision`` and ``all``."""
    PROMPTS: Mapping[str, str]
    """Task -> what the model is asked by default; ``{question}`` stands for the question."""
    SYSTEM_PROMPT: bool
    """Whether the model takes a system prompt."""
    VISION_END: str | None
    """Path of the module whose output the language model reads. What comes before sees the image
    only: while nothing trains there, its output can be kept. None if unknown."""
    VISION_CHAIN: Mapping[str, str]
    """Path of each module between pixels and `VISION_END`, itself the last -> the field of its
    output that holds the tensor, empty where the output is the tensor. Empty if unknown."""
    IMAGES_IN_ROWS: bool
    """Whether each tensor in the image encoder has one row per image, or equally many for each: an
    image encoder whose layers see all patches in one row cannot be trained in a pack."""
    SAVED_NAMES: Mapping[str, str]
    """Regular expression -> replacement, which make the names of weights in a checkpoint's files
    those of the loaded model, where transformers still saves older ones."""

    def load_processor(self, source: str, revision: str | None) -> Any:
        """Return the base's own processor, with images prepared by PIL."""

    def check(self, base: "Base") -> None:
        """Raise ValueError, naming ``model.base``, for a base that would train wrongly."""

    def encode(self, base: "Base", image: "Image.Image") -> Encoded:
        """Return one image as the model takes it."""

    def image_features(
        self, base: "Base", images: "dict[str, torch.Tensor]"
    ) -> "Sequence[torch.Tensor]":
        """Return the output of `VISION_END` for each image, as (rows, tokens, width).

        `images` are those of `encode`, joined along their first axis.
        """

    def image_token(self, base: "Base") -> int | None:
        """Return the number of the token that stands for a part of the image, if there is one."""

    def prompt_tokens(self, base: "Base", image: Encoded, prompt: "Prompt") -> list[int]:
        """Return all tokens up to the first predicted one, image tokens included."""

    def target_tokens(self, base: "Base", prompt: "Prompt", target: str) -> list[int]:
        """Return the tokens of a caption or an answer with the end-of-text token."""

    def token_types(
        self, base: "Base", ids: "torch.Tensor", predicted: "torch.Tensor"
    ) -> dict[str, "torch.Tensor"]:
        """Return what else the model wants to know of each token.

        Both arguments are (batch, tokens); `predicted` is 1 on tokens of the target.
        """


def target_names() -> tuple[str, ...]:
    """Return the names of all families' target sets, without importing torch."""
    modules = (import_module(module) for module in MODULES.values())
    return tuple(dict.fromkeys(name for module in modules for name in module.TARGETS))


def get(model_type: str) -> Family:
    """Return the family of a saved config's `model_type`, the generic one for an unknown type."""
    return cast(Family, import_module(MODULES.get(model_type, GENERIC)))


def unsupported(model_type: str, reason: str) -> ValueError:
    """Return the error for a base that no family fits, naming those that are supported."""
    return ValueError(
        f"model.base is of type {model_type!r}; supported are {', '.join(sorted(MODULES))}, and "
        f"others that transformers loads for image-text-to-text and that have a chat template "
        f"({reason})"
    )


def target_pattern(family: Family, targets: str) -> str:
    """Return the regular expression of ``adapter.targets``: a set's, or the one after ``re:``.

    Raises ValueError for neither.
    """
    if targets in family.TARGETS:
        return family.TARGETS[targets]
    if not targets.startswith(REGEX):
        raise ValueError(
            f"adapter.targets must be one of {', '.join(family.TARGETS)}, or {REGEX} and a regular "
            f"expression over full module paths, got {targets!r}"
        )
    pattern = targets.removeprefix(REGEX)
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"adapter.targets: {pattern!r} is no regular expression: {error}"
        ) from None
    return pattern
