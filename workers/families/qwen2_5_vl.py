"""Qwen2.5-VL (Bai et al. 2025): images of any size become as many tokens as they need.

The chat template renders system prompt, question and answer; it adds a system prompt of its own
where none is given. Learned is the answer with the ``<|im_end|>`` behind it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workers.families.base import Base, Batch, Encoded
from workers.families.chat import ChatFamily
from workers.families.prompts import Prompt

if TYPE_CHECKING:
    import torch

# The vision blocks, too, have gate_proj, up_proj and down_proj.
_TEXT = r"model\.language_model\.layers\.\d+\."
_TEXT_ALL = _TEXT + r"(self_attn|mlp)\.(q|k|v|o|gate|up|down)_proj"
_VISION = r"model\.visual\.blocks\.\d+\.(attn\.(qkv|proj)|mlp\.(gate|up|down)_proj)"


class QwenFamily(ChatFamily):
    """Qwen2.5-VL; an image is pixel_values (patches, values) and image_grid_thw (1, 3)."""

    TARGETS: Mapping[str, str] = {
        "text": _TEXT + r"self_attn\.(q|v)_proj",
        "text_all": _TEXT_ALL,
        "vision": _VISION,
        "all": rf"{_TEXT_ALL}|{_VISION}|model\.visual\.merger\.mlp\.(0|2)",
    }
    VISION_CHAIN: Mapping[str, str] = {"model.visual": "pooler_output"}
    GRID = "image_grid_thw"
    SAVED_NAMES: Mapping[str, str] = {
        r"^model\.(embed_tokens|layers|norm)\.": r"model.language_model.\1.",
        r"^visual\.": "model.visual.",
    }

    def image_features(self, base: Base, images: Encoded) -> "Sequence[torch.Tensor]":
        """Return the merged patches of each image, (patches, 1, width)."""
        merged = base.model.get_image_features(**images).pooler_output
        return [patches.unsqueeze(1) for patches in merged]

    def image_token(self, base: Base) -> int | None:
        """Return the number of ``<|image_pad|>``."""
        return int(base.processor.image_token_id)

    def prompt_tokens(self, base: Base, image: Encoded, prompt: Prompt) -> list[int]:
        """Return the rendered conversation with one token for each merged patch of the image."""
        processor: Any = base.processor
        merged = int(image["image_grid_thw"].prod()) // processor.image_processor.merge_size**2
        text = base.tokens(self.rendered(base, prompt))
        place = text.index(processor.image_token_id)
        return [*text[:place], *[processor.image_token_id] * merged, *text[place + 1 :]]

    def token_types(
        self, base: Base, ids: "torch.Tensor", predicted: "torch.Tensor"
    ) -> "dict[str, torch.Tensor]":
        """Return mm_token_type_ids: 1 on image tokens. Without them positions are wrong."""
        return {"mm_token_type_ids": (ids == base.processor.image_token_id).long()}

    def training_inputs(self, base: Base, batch: Batch) -> Batch:
        """Return them with the tokens' positions (3, batch, tokens), from the images' sizes.

        Without the mask: each token sees those before it alone, and padding is behind.
        """
        inputs = super().training_inputs(base, batch)
        types, mask = inputs.pop("mm_token_type_ids"), inputs.pop("attention_mask")
        inputs["position_ids"], _ = base.model.model.get_rope_index(
            batch["input_ids"],
            mm_token_type_ids=types,
            image_grid_thw=batch["image_grid_thw"],
            attention_mask=mask,
        )
        return inputs


FAMILY = QwenFamily()
