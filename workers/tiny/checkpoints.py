"""Tiny checkpoints of every model family: real classes and files, random weights.

A checkpoint of a variant is what a download of the real model would be, some thousand times
smaller: config, weights, tokenizer and processor, loaded by the same Auto classes. It proves
data, prompts, masks and training steps in seconds, not quality.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from workers.tiny import git, tokenizers

HIDDEN = 32
HEADS = 2
IMAGE_SIZE = 32
PATCH_SIZE = 8
QUERIES = 4
"""Image tokens of BLIP-2."""
POSITIONS = 256
"""Longest sequence of the decoders, tokens."""
_SIZES: Mapping[str, Any] = {
    "hidden_size": HIDDEN,
    "intermediate_size": 2 * HIDDEN,
    "num_hidden_layers": 1,
    "num_attention_heads": HEADS,
    "initializer_range": 0.08,
}
_ROPE = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10_000.0}
_VISION: Mapping[str, Any] = {**_SIZES, "image_size": IMAGE_SIZE, "patch_size": PATCH_SIZE}


def build(variant: str, folder: Path, seed: int = 0) -> None:
    """Write the checkpoint of `variant`, one of `VARIANTS`, to `folder`.

    The same seed gives the same weights; the process's random state is untouched. Raises
    ValueError for an unknown variant.
    """
    if variant not in VARIANTS:
        raise ValueError(f"a variant must be one of {', '.join(VARIANTS)}; got {variant!r}")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model, processor = VARIANTS[variant]()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def _git() -> tuple[Any, Any]:
    processor = git.make_processor()
    return git.make_model(len(processor.tokenizer)), processor


def _blip2_opt() -> tuple[Any, Any]:
    from transformers import OPTConfig

    processor = _blip2_processor(tokenizers.opt_tokenizer())
    tokenizer = processor.tokenizer
    newline = tokenizer("\n", add_special_tokens=False)["input_ids"][0]
    text = OPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        ffn_dim=2 * HIDDEN,
        num_hidden_layers=1,
        num_attention_heads=HEADS,
        word_embed_proj_dim=HIDDEN,
        max_position_embeddings=POSITIONS,
        init_std=0.08,
        dropout=0.0,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        # The published checkpoints end a text with a newline, not with the tokenizer's </s>.
        eos_token_id=newline,
    )
    model = _blip2_model(text, tokenizer)
    model.generation_config.eos_token_id = newline
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, processor


def _blip2_t5() -> tuple[Any, Any]:
    from transformers import T5Config

    processor = _blip2_processor(tokenizers.t5_tokenizer())
    tokenizer = processor.tokenizer
    text = T5Config(
        vocab_size=len(tokenizer),
        d_model=HIDDEN,
        d_kv=HIDDEN // HEADS,
        d_ff=2 * HIDDEN,
        num_layers=1,
        num_decoder_layers=1,
        num_heads=HEADS,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    return _blip2_model(text, tokenizer), processor


def _blip2_processor(tokenizer: Any) -> Any:
    from transformers import Blip2Processor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    images = BlipImageProcessorPil(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE})
    return Blip2Processor(images, tokenizer, num_query_tokens=QUERIES)


def _blip2_model(text: Any, tokenizer: Any) -> Any:
    from transformers import (
        Blip2Config,
        Blip2ForConditionalGeneration,
        Blip2QFormerConfig,
        Blip2VisionConfig,
    )

    config = Blip2Config(
        vision_config=Blip2VisionConfig(**_VISION),
        qformer_config=Blip2QFormerConfig(
            **_SIZES,
            vocab_size=32,
            encoder_hidden_size=HIDDEN,
            cross_attention_frequency=1,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        text_config=text,
        num_query_tokens=QUERIES,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    model = Blip2ForConditionalGeneration(config)
    with torch.no_grad():  # new query tokens are zeros, and all images would look the same
        model.query_tokens.normal_(0.0, 1.0)
        for parameter in model.vision_model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.2)
    return model


def _qwen2_5_vl() -> tuple[Any, Any]:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from workers.models import processors

    tokenizer = tokenizers.qwen_tokenizer()
    number = tokenizer.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        text_config={
            **_SIZES,
            "num_key_value_heads": 1,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": POSITIONS,
            "rope_parameters": _ROPE,
            "pad_token_id": number("<|endoftext|>"),
            "eos_token_id": number("<|im_end|>"),
        },
        vision_config={
            **{name: _SIZES[name] for name in ("hidden_size", "intermediate_size")},
            **{"depth": 1, "num_heads": HEADS, "out_hidden_size": HIDDEN},
            **{"fullatt_block_indexes": [0], "initializer_range": 0.08},
        },
        image_token_id=number("<|image_pad|>"),
        video_token_id=number("<|video_pad|>"),
        vision_start_token_id=number("<|vision_start|>"),
        vision_end_token_id=number("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    images = Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=112 * 112)
    processor = processors.build(
        "Qwen2_5_VLProcessor",
        image_processor=images,
        tokenizer=tokenizer,
        chat_template=tokenizers.CHAT_TEMPLATE,
    )
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = [number("<|im_end|>"), number("<|endoftext|>")]
    model.generation_config.pad_token_id = number("<|endoftext|>")
    return model, processor


def _paligemma() -> tuple[Any, Any]:
    from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration, PaliGemmaProcessor
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    images = SiglipImageProcessorPil(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE})
    images.image_seq_length = (IMAGE_SIZE // PATCH_SIZE) ** 2
    processor = PaliGemmaProcessor(images, tokenizers.gemma_tokenizer())
    config = PaliGemmaConfig(
        text_config={
            **_SIZES,
            "model_type": "gemma",
            "vocab_size": len(processor.tokenizer),
            "num_key_value_heads": 1,
            "head_dim": HIDDEN // HEADS,
            "max_position_embeddings": POSITIONS,
        },
        vision_config={**_VISION, "model_type": "siglip_vision_model", "vision_use_head": False},
        image_token_index=processor.image_token_id,
        projection_dim=HIDDEN,
        hidden_size=HIDDEN,
        bos_token_id=processor.tokenizer.bos_token_id,
        eos_token_id=processor.tokenizer.eos_token_id,
        pad_token_id=processor.tokenizer.pad_token_id,
    )
    return PaliGemmaForConditionalGeneration(config), processor


VARIANTS: Mapping[str, Callable[[], tuple[Any, Any]]] = {
    "git": _git,
    "blip2-opt": _blip2_opt,
    "blip2-t5": _blip2_t5,
    "qwen2_5_vl": _qwen2_5_vl,
    "paligemma": _paligemma,
}
"""Variant -> builder of (model, processor); BLIP-2 comes with either kind of language model."""
