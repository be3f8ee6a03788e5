"""PaliGemma (Beyer et al. 2024): SigLIP and Gemma; image and prompt are read as one prefix.

Sequence: image tokens, ``<bos>``, prompt, newline, caption, ``<eos>``.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workers.families.processors import load as load_processor

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from workers.families.base import Base, Encoded
    from workers.families.prompts import Prompt

__all__ = ["load_processor"]

# Both towers have layers called q_proj: without the path, half of the adapters are in SigLIP.
_TEXT = r"model\.language_model\.layers\.\d+\."
_TEXT_ALL = _TEXT + r"(self_attn|mlp)\.(q|k|v|o|gate|up|down)_proj"
_VISION = (
    r"model\.vision_tower\.(vision_model\.)?encoder\.layers\.\d+\."
    r"(self_attn\.(q_proj|k_proj|v_proj|out_proj)|mlp\.(fc1|fc2))"
)
TARGETS: Mapping[str, str] = {
    "text": _TEXT + r"self_attn\.(q|v)_proj",
    "text_all": _TEXT_ALL,
    "vision": _VISION,
    "all": rf"{_TEXT_ALL}|{_VISION}|model\.multi_modal_projector\.linear",
}
PROMPTS: Mapping[str, str] = {"captioning": "caption en", "vqa": "answer en {question}"}
SYSTEM_PROMPT = False
IMAGES_IN_ROWS = True
VISION_CHAIN: Mapping[str, str] = {
    "model.vision_tower": "last_hidden_state",
    "model.multi_modal_projector": "",
}
SAVED_NAMES: Mapping[str, str] = {
    r"^language_model\.model\.": "model.language_model.",
    r"^(vision_tower|multi_modal_projector)\.": r"model.\1.",
}


def check(base: "Base") -> None:
    """Refuse a processor that makes another number of image tokens than the model."""
    vision = base.model.config.vision_config
    tokens = (vision.image_size // vision.patch_size) ** 2
    if base.processor.image_seq_length != tokens:
        raise ValueError(
            f"model.base: the processor's image_seq_length must be {tokens}, as many as the model "
            f"makes of an image, got {base.processor.image_seq_length}"
        )


def encode(base: "Base", image: "Image.Image") -> "Encoded":
    """Return pixel_values (1, 3, height, width), resized and normalised."""
    return dict(base.processor.image_processor(images=image, return_tensors="pt"))


def image_features(base: "Base", images: "dict[str, torch.Tensor]") -> "Sequence[torch.Tensor]":
    """Return the image tokens of each image, (1, tokens, width)."""
    seen = base.model.get_image_features(**images).pooler_output
    return [tokens.unsqueeze(0) for tokens in seen]


def image_token(base: "Base") -> int | None:
    """Return the number of ``<image>``."""
    return int(base.processor.image_token_id)


def prompt_tokens(base: "Base", image: "Encoded", prompt: "Prompt") -> list[int]:
    """Return image tokens, ``<bos>``, prompt and newline."""
    processor: Any = base.processor
    text: list[int] = processor.tokenizer(prompt.text + "\n", add_special_tokens=False)["input_ids"]
    image_tokens = [processor.image_token_id] * processor.image_seq_length
    return [*image_tokens, processor.tokenizer.bos_token_id, *text]


def target_tokens(base: "Base", prompt: "Prompt", target: str) -> list[int]:
    """Return the caption and ``<eos>``."""
    tokenizer: Any = base.processor.tokenizer
    text: list[int] = tokenizer(target, add_special_tokens=False)["input_ids"]
    return [*text, tokenizer.eos_token_id]


def token_types(
    base: "Base", ids: "torch.Tensor", predicted: "torch.Tensor"
) -> dict[str, "torch.Tensor"]:
    """Return token_type_ids: 0 on the prefix, whose tokens see each other, 1 on the caption."""
    return {"token_type_ids": predicted}
