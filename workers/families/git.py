"""GIT (Wang et al. 2022): a decoder that reads image tokens and caption in one sequence.

Training sequence: ``[CLS] prompt caption [SEP]``. The model itself puts the image in front; its
loss skips the image tokens and shifts the labels.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workers.families.processors import load as load_processor

if TYPE_CHECKING:  # kept out at run time: target sets are read where torch is not loaded
    import torch
    from PIL import Image

    from workers.families.base import Base, Encoded
    from workers.families.prompts import Prompt

__all__ = ["load_processor"]

# Full paths: bare names such as `q_proj` or `dense` would also catch the vision tower.
_TEXT = r"git\.encoder\.layer\.\d+\."
_TEXT_ALL = _TEXT + r".*(query|key|value|dense)"
_VISION = r"git\.image_encoder\..*(q_proj|k_proj|v_proj|out_proj|fc1|fc2)"
TARGETS: Mapping[str, str] = {
    "text": _TEXT + r".*(query|value)",
    "text_all": _TEXT_ALL,
    # The head by its top-level name: `modules_to_save=["output"]` would catch every block.
    "text_all_head": f"{_TEXT_ALL}|output",
    "vision": _VISION,
    "all": rf"{_TEXT_ALL}|{_VISION}|git\.visual_projection\.visual_projection\.0",
}
PROMPTS: Mapping[str, str] = {"captioning": "", "vqa": "{question}"}
SYSTEM_PROMPT = False
IMAGES_IN_ROWS = True
VISION_CHAIN: Mapping[str, str] = {
    "git.image_encoder": "last_hidden_state",
    "git.visual_projection": "",
}
SAVED_NAMES: Mapping[str, str] = {}


def check(base: "Base") -> None:
    """Accept every GIT."""


def encode(base: "Base", image: "Image.Image") -> "Encoded":
    """Return pixel_values (1, 3, height, width), resized and normalised."""
    return dict(base.processor.image_processor(images=image, return_tensors="pt"))


def image_features(base: "Base", images: "dict[str, torch.Tensor]") -> "Sequence[torch.Tensor]":
    """Return the patches of each image, (1, patches, width)."""
    git = base.model.git
    seen = git.image_encoder(images["pixel_values"]).last_hidden_state
    return [patches.unsqueeze(0) for patches in git.visual_projection(seen)]


def image_token(base: "Base") -> int | None:
    """Return None: the image has no tokens in the text."""


def prompt_tokens(base: "Base", image: "Encoded", prompt: "Prompt") -> list[int]:
    """Return ``[CLS] prompt``."""
    tokenizer: Any = base.processor.tokenizer
    text: list[int] = tokenizer(prompt.text, add_special_tokens=False)["input_ids"]
    return [tokenizer.cls_token_id, *text]


def target_tokens(base: "Base", prompt: "Prompt", target: str) -> list[int]:
    """Return ``caption [SEP]``."""
    tokenizer: Any = base.processor.tokenizer
    text: list[int] = tokenizer(target, add_special_tokens=False)["input_ids"]
    return [*text, tokenizer.sep_token_id]


def token_types(
    base: "Base", ids: "torch.Tensor", predicted: "torch.Tensor"
) -> dict[str, "torch.Tensor"]:
    """Return nothing: `forward` takes token_type_ids, but `generate` refuses them."""
    return {}
