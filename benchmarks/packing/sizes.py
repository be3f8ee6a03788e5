"""Checkpoints of real sizes with random weights, built where they are measured: no download.

Speed and memory do not depend on the values of weights. Tokenizers are the small ones of
`workers.tiny.checkpoints`, filled up to the models' vocabularies with tokens that no text has.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from workers.models.loading import without_dropout
from workers.tiny import checkpoints

GIT_VISION = {"image_size": 224, "patch_size": 16}
GEMMA_IMAGE, GEMMA_PATCH = 224, 14
QWEN_IMAGE = 448
"""256 tokens after merging."""


def build(name: str, folder: Path, device: str) -> None:
    """Write the checkpoint `name` to `folder`; weights are drawn on `device`, as bfloat16."""
    model, processor = make(name, device)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def make(name: str, device: str) -> tuple[Any, Any]:
    """Return model and processor of the checkpoint `name`, without a file."""
    from transformers import AutoModelForImageTextToText

    variant, resize = SIZES[name]
    tiny, processor = checkpoints.VARIANTS[variant]()
    config = without_dropout(resize(tiny.config, processor))
    _fill_vocabulary(processor, config.get_text_config().vocab_size)
    with torch.device(device):
        model = AutoModelForImageTextToText.from_config(
            config, dtype=torch.bfloat16, trust_remote_code=False
        )
    model.generation_config = tiny.generation_config
    return model, processor


def _fill_vocabulary(processor: Any, tokens: int) -> None:
    """Give the tokenizer as many tokens as the model has: a nearly empty one is refused."""
    from tokenizers import Tokenizer

    tokenizer = processor.tokenizer
    written = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = written["model"]["vocab"]
    for number in range(len(tokenizer), tokens):
        vocabulary[f"<unused {number}>"] = number
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(written))


def _as_they_are(config: Any, processor: Any) -> Any:
    return config


def _git_base(config: Any, processor: Any) -> Any:
    """microsoft/git-base: 0.18 billion weights, 197 image tokens."""
    processor.image_processor.size = {"height": 224, "width": 224}
    return type(config)(
        vision_config=GIT_VISION,  # all else of git-base is transformers' default
        pad_token_id=config.pad_token_id,
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
    )


def _qwen_3b(config: Any, processor: Any) -> Any:
    """Qwen/Qwen2.5-VL-3B-Instruct: 3.8 billion weights."""
    images = processor.image_processor
    images.size = {"shortest_edge": QWEN_IMAGE**2, "longest_edge": QWEN_IMAGE**2}
    special = {key: getattr(config, key) for key in vars(config) if key.endswith("_token_id")}
    rope = {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1_000_000.0}
    return type(config)(
        text_config={
            "vocab_size": 151_936, "hidden_size": 2048, "intermediate_size": 11_008,
            "num_hidden_layers": 36, "num_attention_heads": 16, "num_key_value_heads": 2,
            "max_position_embeddings": 4096, "rope_parameters": rope,
            "pad_token_id": config.text_config.pad_token_id,
            "eos_token_id": config.text_config.eos_token_id,
        },
        vision_config={
            "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16,
            "out_hidden_size": 2048, "fullatt_block_indexes": [7, 15, 23, 31],
        },
        tie_word_embeddings=True,
        **special,
    )  # fmt: skip


def _paligemma_3b(config: Any, processor: Any) -> Any:
    """google/paligemma-3b-pt-224: 2.9 billion weights, 256 image tokens."""
    processor.image_processor.size = {"height": GEMMA_IMAGE, "width": GEMMA_IMAGE}
    processor.image_processor.image_seq_length = (GEMMA_IMAGE // GEMMA_PATCH) ** 2
    processor.image_seq_length = processor.image_processor.image_seq_length
    return type(config)(
        text_config={
            "model_type": "gemma", "vocab_size": 257_216, "hidden_size": 2048,
            "intermediate_size": 16_384, "num_hidden_layers": 18, "num_attention_heads": 8,
            "num_key_value_heads": 1, "head_dim": 256, "max_position_embeddings": 8192,
        },
        vision_config={
            "model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304,
            "num_hidden_layers": 27, "num_attention_heads": 16, "image_size": GEMMA_IMAGE,
            "patch_size": GEMMA_PATCH, "vision_use_head": False,
        },
        image_token_index=config.image_token_index,
        projection_dim=2048,
        hidden_size=2048,
        bos_token_id=processor.tokenizer.bos_token_id,
        eos_token_id=processor.tokenizer.eos_token_id,
        pad_token_id=processor.tokenizer.pad_token_id,
    )  # fmt: skip


Resize = Callable[[Any, Any], Any]
"""Takes the tiny config and the processor, which it changes, and returns the real config."""
SIZES: Mapping[str, tuple[str, Resize]] = {
    "git-base": ("git", _git_base),
    "qwen2.5-vl-3b": ("qwen2_5_vl", _qwen_3b),
    "paligemma-3b": ("paligemma", _paligemma_3b),
    "tiny-git": ("git", _as_they_are),
    "tiny-qwen2.5-vl": ("qwen2_5_vl", _as_they_are),
    "tiny-paligemma": ("paligemma", _as_they_are),
}
"""Name -> variant of `workers.tiny.checkpoints`, and what makes it that large."""
