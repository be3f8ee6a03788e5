"""PaliGemma (Beyer et al. 2024): SigLIP and Gemma; image and prompt are read as one prefix.

Sequence: image tokens, ``<bos>``, prompt, newline, caption, ``<eos>``.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from workers.families.base import Base, Encoded, Family
from workers.families.prompts import Prompt

if TYPE_CHECKING:
    import torch

# Both towers have layers called q_proj: without the path, half of the adapters are in SigLIP.
_TEXT = r"model\.language_model\.layers\.\d+\."
_TEXT_ALL = _TEXT + r"(self_attn|mlp)\.(q|k|v|o|gate|up|down)_proj"
_VISION = (
    r"model\.vision_tower\.(vision_model\.)?encoder\.layers\.\d+\."
    r"(self_attn\.(q_proj|k_proj|v_proj|out_proj)|mlp\.(fc1|fc2))"
)


class PaliGemmaFamily(Family):
    """PaliGemma, whose images are all of one size."""

    TARGETS: Mapping[str, str] = {
        "text": _TEXT + r"self_attn\.(q|v)_proj",
        "text_all": _TEXT_ALL,
        "vision": _VISION,
        "all": rf"{_TEXT_ALL}|{_VISION}|model\.multi_modal_projector\.linear",
    }
    PROMPTS: Mapping[str, str] = {"captioning": "caption en", "vqa": "answer en {question}"}
    VISION_CHAIN: Mapping[str, str] = {
        "model.vision_tower": "last_hidden_state",
        "model.multi_modal_projector": "",
    }
    SAVED_NAMES: Mapping[str, str] = {
        r"^language_model\.model\.": "model.language_model.",
        r"^(vision_tower|multi_modal_projector)\.": r"model.\1.",
    }

    def check(self, base: Base) -> None:
        """Refuse a processor that makes another number of image tokens than the model."""
        vision = base.model.config.vision_config
        tokens = (vision.image_size // vision.patch_size) ** 2
        if base.processor.image_seq_length != tokens:
            raise ValueError(
                f"model.base: the processor's image_seq_length must be {tokens}, as many as the "
                f"model makes of an image, got {base.processor.image_seq_length}"
            )

    def image_token(self, base: Base) -> int | None:
        """Return the number of ``<image>``."""
        return int(base.processor.image_token_id)

    def prompt_tokens(self, base: Base, image: Encoded, prompt: Prompt) -> list[int]:
        """Return image tokens, ``<bos>``, prompt and newline."""
        processor = base.processor
        image_tokens = [processor.image_token_id] * processor.image_seq_length
        text = base.tokens(prompt.text + "\n")
        return [*image_tokens, processor.tokenizer.bos_token_id, *text]

    def target_tokens(self, base: Base, prompt: Prompt, target: str) -> list[int]:
        """Return the caption and ``<eos>``."""
        return [*base.tokens(target), base.processor.tokenizer.eos_token_id]

    def token_types(
        self, base: Base, ids: "torch.Tensor", predicted: "torch.Tensor", images: Encoded
    ) -> "dict[str, torch.Tensor]":
        """Return token_type_ids: 0 on the prefix, whose tokens see each other, 1 on the caption."""
        return {"token_type_ids": predicted}


FAMILY = PaliGemmaFamily()
