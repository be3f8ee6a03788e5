"""GIT (Wang et al. 2022): a decoder that reads image tokens and caption in one sequence.

Training sequence: ``[CLS] caption [SEP]``. The model's own loss skips the image tokens and
shifts the labels, so ``[CLS]`` is never predicted.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # kept out at run time: target sets are read where torch is not loaded
    import torch
    from PIL import Image

# Full paths: bare names such as `q_proj` or `dense` would also catch the vision tower.
_TEXT = r"git\.encoder\.layer\.\d+\."
TARGETS: Mapping[str, str] = {
    "text": _TEXT + r".*(query|value)",
    "text_all": _TEXT + r".*(query|key|value|dense)",
    # The head by its top-level name: `modules_to_save=["output"]` would catch every block.
    "text_all_head": _TEXT + r".*(query|key|value|dense)|output",
    "vision": r"git\.image_encoder\..*(q_proj|k_proj|v_proj|out_proj|fc1|fc2)",
}


def pixels(processor: Any, image: "Image.Image") -> "torch.Tensor":
    """Return (3, height, width), resized and normalised by the base's image processor."""
    encoded = processor.image_processor(images=image, return_tensors="pt")
    values: torch.Tensor = encoded["pixel_values"][0]
    return values


def training_batch(
    processor: Any, pixels: "torch.Tensor", captions: Sequence[str]
) -> dict[str, "torch.Tensor"]:
    """Return pixel_values, input_ids, attention_mask and labels of a batch.

    `token_type_ids` stays out: `forward` takes it and `generate` refuses it.
    """
    text = processor.tokenizer(
        list(captions), padding=True, padding_side="right", truncation=True, return_tensors="pt"
    )
    labels = text["input_ids"].masked_fill(text["attention_mask"] == 0, -100)
    return {
        "pixel_values": pixels,
        "input_ids": text["input_ids"],
        "attention_mask": text["attention_mask"],
        "labels": labels,
    }


def predicted_tokens(labels: "torch.Tensor") -> int:
    """Count the labels after the shift; the first position is never predicted."""
    return int((labels[:, 1:] != -100).sum())


def generation_inputs(processor: Any, pixels: "torch.Tensor") -> dict[str, "torch.Tensor"]:
    """Return pixel_values and the start token ``[CLS]`` for each image."""
    start = processor.tokenizer([""] * len(pixels), return_tensors="pt")  # [CLS] [SEP]
    return {
        "pixel_values": pixels,
        "input_ids": start["input_ids"][:, :1],
        "attention_mask": start["attention_mask"][:, :1],
    }


def decode(
    processor: Any, inputs: Mapping[str, "torch.Tensor"], output: "torch.Tensor"
) -> list[str]:
    """Return the captions, without special tokens and the start token."""
    new_tokens = output[:, inputs["input_ids"].shape[1] :]
    captions = processor.tokenizer.batch_decode(new_tokens, skip_special_tokens=True)
    return [caption.strip() for caption in captions]
