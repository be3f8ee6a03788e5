"""What the folder of a tiny checkpoint is made of, and the sizes that all of them share."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

Fields = Mapping[str, Any]
HIDDEN = 32
HEADS = 2
IMAGE_SIZE = 32
"""Width and height of a tile, or of an image whose size is fixed, pixels."""
SQUARE = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
PATCH_SIZE = 8
POSITIONS = 1024
"""Longest sequence, tokens: room for some tiles."""
PIXELS = {"shortest_edge": 56 * 56, "longest_edge": 112 * 112}
"""Least and most pixels of an image that keeps its shape, as Qwen's processors name them."""
GRIDS = [[32, 64], [64, 32], [64, 64], [96, 32], [32, 96]]
"""Heights and widths to which LLaVA's processors bring an image before it is cut into tiles."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What the folder of a checkpoint is made of."""

    config: Fields
    tokenizer: Any
    images: Fields
    """preprocessor_config.json, without the processor's class."""
    processor: str
    """Class of the processor."""
    template: str | None = None
    """The chat template; None for a model that is not asked in turns."""
    options: Fields = field(default_factory=dict)
    """processor_config.json, without the processor's class."""
    videos: str | None = None
    """Class of the video processor, where the processor has one."""
    ends: Sequence[str] = ()
    """Tokens that end a text; the tokenizer's own if empty."""


def write(made: Architecture, folder: Path, seed: int) -> None:
    """Write the files of a checkpoint with random weights of `seed` to `folder`.

    The processor's files are written here, not saved by its class: some classes are made only
    where torchvision is installed.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText

    tokenizer = made.tokenizer
    ends = tokenizer.convert_tokens_to_ids(list(made.ends or [tokenizer.eos_token]))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(
            AutoConfig.for_model(**made.config), trust_remote_code=False
        )
        _make_images_count(model)
    model.generation_config.eos_token_id = ends if len(ends) > 1 else ends[0]
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.bos_token_id = tokenizer.bos_token_id
    model.save_pretrained(folder)
    tokenizer._set_processor_class(made.processor)
    tokenizer.save_pretrained(folder)
    if made.template is not None:
        (folder / "chat_template.jinja").write_text(made.template)
    owner = {"processor_class": made.processor}
    parts = {"preprocessor_config": made.images, "processor_config": made.options}
    if made.videos is not None:
        parts["video_preprocessor_config"] = {"video_processor_type": made.videos}
    for part, fields in parts.items():
        (folder / f"{part}.json").write_text(json.dumps({**fields, **owner}, indent=2) + "\n")


def _make_images_count(model: Any) -> None:
    """Widen what starts at zero or next to it, for all images would look the same."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.numel() == 1:  # a gate before which an image waits
                parameter.fill_(0.5)
            elif parameter.dim() > 1 and parameter.std() < 0.03:
                parameter.normal_(0.0, 0.08)


def layers(tokenizer: Any, **others: Any) -> dict[str, Any]:
    """Return the fields of a language model; `others` are added or come in their place."""
    fields = {
        "vocab_size": len(tokenizer),
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": 1,
        "num_attention_heads": HEADS,
        "num_key_value_heads": 1,
        "head_dim": HIDDEN // HEADS,
        "max_position_embeddings": POSITIONS,
        "initializer_range": 0.08,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    return fields | others


def experts(number: str) -> dict[str, Any]:
    """Return the fields of a mixture of four experts; `number` names the field of their number."""
    return {number: 4, "num_experts_per_tok": 2, "moe_intermediate_size": HIDDEN}


def tower(**others: Any) -> dict[str, Any]:
    """Return the fields of a vision tower whose images are squares."""
    fields = {
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": 1,
        "num_attention_heads": HEADS,
        "image_size": IMAGE_SIZE,
        "patch_size": PATCH_SIZE,
        "initializer_range": 0.08,
    }
    return fields | others


def siglip_tower(**others: Any) -> dict[str, Any]:
    """Return the fields of SigLIP."""
    return tower(model_type="siglip_vision_model", vision_use_head=False, **others)


def patch_tower(**others: Any) -> dict[str, Any]:
    """Return the fields of a vision tower of Qwen's kind, whose images have any shape."""
    fields = {
        "depth": 1,
        "num_heads": HEADS,
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "out_hidden_size": HIDDEN,
        "patch_size": 14,
        "initializer_range": 0.08,
    }
    return fields | others


def patches(kind: str, patch_size: int = 14) -> dict[str, Any]:
    """Return the options of the image processor `kind`, which keeps an image's shape."""
    sizes = {"size": PIXELS, "patch_size": patch_size, "temporal_patch_size": 2, "merge_size": 2}
    return {"image_processor_type": kind, **sizes}
