"""Qwen2.5-VL (Bai et al. 2025): images of any size become as many tokens as they need.

The chat template renders system prompt, question and answer; it adds a system prompt of its own
where none is given. Learned is the answer with the ``<|im_end|>`` behind it.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from workers.families.base import Base, Batch, Encoded
from workers.families.chat import ChatFamily
from workers.families.prompts import Prompt
from workers.files import own_code

if TYPE_CHECKING:
    import torch

# The vision blocks, too, have gate_proj, up_proj and down_proj.
_TEXT = r"model\.language_model\.layers\.\d+\."
_TEXT_ALL = _TEXT + r"(self_attn|mlp)\.(q|k|v|o|gate|up|down)_proj"
_VISION = r"model\.visual\.blocks\.\d+\.(attn\.(qkv|proj)|mlp\.(gate|up|down)_proj)"


@cache
def image_only_class() -> Any:
    """Return the model's processor without its video part, which would need torchvision.

    It has the original's name, which `save_pretrained` writes down: by any other name
    `AutoProcessor` would load a bare tokenizer.
    """
    from transformers import Qwen2_5_VLProcessor as Original
    from transformers.processing_utils import ProcessorMixin

    class Qwen2_5_VLProcessor(Original):  # type: ignore[misc,valid-type]  # noqa: N801
        """Images and text only."""

        def __init__(
            self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None
        ) -> None:
            self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
            self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
            self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
            ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    return Qwen2_5_VLProcessor


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

    def load_processor(self, source: str, revision: str | None) -> Any:
        """Return the processor; its images are prepared by PIL."""
        # From its own module: the name that transformers exports wants torchvision before 5.18.
        from transformers.models.auto.image_processing_auto import AutoImageProcessor

        with own_code.refused(source):
            processor = image_only_class().from_pretrained(
                source, revision=revision, trust_remote_code=False
            )
            # `backend` cannot be handed through the processor.
            processor.image_processor = AutoImageProcessor.from_pretrained(
                source, revision=revision, backend="pil", trust_remote_code=False
            )
        return processor

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
