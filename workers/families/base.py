"""A loaded base, and what differs between families of architectures."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from workers.families.prompts import Prompt
from workers.families.traits import Traits

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from workers.families.pixel_bytes import PixelBytes

_NO_LIMIT = 1_000_000
"""Tokenizers without a limit give a number far above."""
IMAGE_TEXT = "image_text"
"""Key of an encoded image: what its processor writes into a prompt for it, as UTF-8 bytes. It is
read by `prompt_tokens`, and the model does not get it."""

Batch = dict[str, "torch.Tensor"]
Encoded = Mapping[str, "torch.Tensor"]
"""One image as its model takes it. Each tensor has a leading axis along which those of several
images are joined; image 1 may have more rows than image 2."""


class Family(ABC):
    """What differs between architectures. All methods but `check` are pure."""

    TARGETS: Mapping[str, str]
    """Target set -> regular expression over full paths of linear layers, for `LoraConfig`.
    Every family has ``text``, ``text_all``, ``vision`` and ``all``."""
    PROMPTS: Mapping[str, str]
    """Task -> what the model is asked by default; ``{question}`` stands for the question."""
    SYSTEM_PROMPT: bool = False
    """Whether the model takes a system prompt."""
    VISION_CHAIN: Mapping[str, str] = {}
    """Path of each module between pixels and the language model -> the field of its output that
    holds the tensor, empty where the output is the tensor. The language model reads the output of
    the last one; while nothing trains up to it, that output can be kept. Empty where it goes
    through `get_image_features`, of which `traits` say which modules it runs."""
    IMAGES_IN_ROWS: bool = True
    """Whether each tensor in the image encoder has one row per image, or equally many for each: an
    image encoder whose layers see all patches in one row cannot be trained in a pack."""
    GRID: str | None = None
    """Key of a tensor that says how large each image is. Beside kept features it stays on the CPU,
    where models read it."""
    traits: Traits | None = None
    """Found out about an architecture for which no constant states them."""
    SAVED_NAMES: Mapping[str, str] = {}
    """Regular expression -> replacement, which make the names of weights in a checkpoint's files
    those of the loaded model, where transformers still saves older ones."""

    @property
    def vision(self) -> tuple[str, ...]:
        """Paths of the modules that make image features, empty where these are not kept."""
        return self.traits.vision if self.traits else tuple(self.VISION_CHAIN)

    def having(self, traits: Traits) -> "Family":
        """Return the family with these traits."""
        family = copy(self)
        family.traits = traits
        return family

    def check(self, base: "Base") -> None:  # noqa: B027 (most families accept all)
        """Raise ValueError, naming ``model.base``, for a base that would train wrongly.

        Corrects in the model what the installed transformers computes wrongly.
        """

    def encode(self, base: "Base", image: "Image.Image") -> Encoded:
        """Return one image as the model takes it, mostly pixel_values (1, 3, height, width)."""
        return dict(base.processor.image_processor(images=image, return_tensors="pt"))

    def image_features(self, base: "Base", images: Encoded) -> "Sequence[torch.Tensor]":
        """Return the output of the last of `VISION_CHAIN` for each image: (rows, tokens, width).

        `images` are those of `encode`, joined along their first axis.
        """
        features = base.model.get_image_features(**images).pooler_output
        return [tokens.unsqueeze(0) for tokens in features]

    def image_token(self, base: "Base") -> int | None:
        """Return the number of the token that stands for a part of the image, if there is one."""
        return None

    def image_tokens(self, base: "Base") -> frozenset[int]:
        """Return all tokens that announce an image, which a text of the user's must not have."""
        token = self.image_token(base)
        return frozenset() if token is None else frozenset({token})

    def image_places(self, base: "Base", image: Encoded) -> int:
        """Return how many image tokens the image has in its prompt, one for each feature."""
        raise NotImplementedError

    @abstractmethod
    def prompt_tokens(self, base: "Base", image: Encoded, prompt: Prompt) -> list[int]:
        """Return all tokens up to the first predicted one, image tokens included."""

    @abstractmethod
    def target_tokens(self, base: "Base", prompt: Prompt, target: str) -> list[int]:
        """Return the tokens of a caption or an answer with the end-of-text token."""

    def marked_tokens(self, base: "Base") -> Mapping[str, frozenset[int]]:
        """Return each tensor with a type per token -> the tokens whose type is 1; others have 0."""
        return {}

    def token_types(
        self, base: "Base", ids: "torch.Tensor", predicted: "torch.Tensor", images: Encoded
    ) -> "dict[str, torch.Tensor]":
        """Return what else the model needs for each token, if anything.

        `ids` and `predicted` are (batch, tokens); `predicted` is 1 on tokens of the target.
        """
        return {}

    def training_inputs(self, base: "Base", batch: "Batch") -> "Batch":
        """Return the model's arguments for a batch in training, all on the CPU, without labels.

        What a model finds out by reading tensors is found here, where they are: each value that is
        read from a GPU waits for all that is under way.
        """
        return {key: tensor for key, tensor in batch.items() if key != "labels"}


@dataclass(frozen=True, kw_only=True)
class Base:
    """A frozen base model with what belongs to it."""

    model: Any
    """A transformers model; every parameter has ``requires_grad`` off."""
    processor: Any
    family: Family
    device: "torch.device"
    quantization: str = "none"
    """How its weights are stored, see `workers.quantizations`."""

    @cached_property
    def encoder_decoder(self) -> bool:
        """Whether prompt and target are two sequences, as with T5."""
        config = self.model.config
        parts = (config, config.get_text_config())
        return any(getattr(part, "is_encoder_decoder", False) for part in parts)

    @cached_property
    def arguments(self) -> frozenset[str]:
        """Names of all that the model's forward reads."""
        return frozenset(inspect.signature(self.model.forward).parameters)

    @cached_property
    def marked_tokens(self) -> Mapping[str, frozenset[int]]:
        """See `Family.marked_tokens`."""
        return self.family.marked_tokens(self)

    @cached_property
    def modules(self) -> tuple[str, ...]:
        """Paths of all modules. First read it before an adapter wraps some of them."""
        return tuple(path for path, _ in self.model.named_modules() if path)

    @cached_property
    def linear_layers(self) -> tuple[str, ...]:
        """Paths of all linear layers. First read it before an adapter wraps some of them."""
        from torch.nn import Linear

        modules = self.model.named_modules()
        return tuple(path for path, module in modules if isinstance(module, Linear))

    @cached_property
    def tied_modules(self) -> tuple[str, ...]:
        """Paths of the heads and embeddings that share one weight. First read it as the others."""
        from torch.nn import Embedding, Linear

        owners: dict[int, list[Any]] = {}
        for path, module in self.model.named_modules():
            if isinstance(module, (Embedding, Linear)):
                owners.setdefault(id(module.weight), []).append((path, type(module)))
        shared = [own for own in owners.values() if len({kind for _, kind in own}) > 1]
        return tuple(path for own in shared for path, _ in own)

    @cached_property
    def positions(self) -> int:
        """Most tokens of one sequence: the model's positions or the tokenizer's own limit."""
        text = self.model.config.get_text_config()
        own = getattr(text, "max_position_embeddings", None)
        limits = (own, self.processor.tokenizer.model_max_length, _NO_LIMIT)
        return min(limit for limit in limits if limit is not None)

    @cached_property
    def pixel_bytes(self) -> "PixelBytes | None":
        """How bytes become the numbers of its processor; None where it needs the numbers."""
        from workers.families.pixel_bytes import PixelBytes

        return PixelBytes.of(self)

    def tokens(self, text: str) -> list[int]:
        """Return the tokens of a text, without special ones of the tokenizer's own."""
        tokens: list[int] = self.processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        return tokens
