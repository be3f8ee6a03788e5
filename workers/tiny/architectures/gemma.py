"""Architectures on Gemma: Gemma 3 and 4, T5Gemma 2, PaliGemma 2."""

from typing import Any

from workers.tiny.architectures.parts import (
    HEADS,
    HIDDEN,
    IMAGE_SIZE,
    PATCH_SIZE,
    SQUARE,
    Architecture,
    Fields,
    layers,
    siglip_tower,
)
from workers.tiny.chat_templates import turns
from workers.tiny.tokenizers import gemma_tokenizer

_GEMMA_TURNS = {
    "system": ("<start_of_turn>user\n", "<end_of_turn>\n"),
    "user": ("<start_of_turn>user\n", "<end_of_turn>\n"),
    "assistant": ("<start_of_turn>model\n", "<end_of_turn>\n"),
}
_GEMMA_IMAGE = {
    "boi_token": "<start_of_image>",
    "eoi_token": "<end_of_image>",
    "image_token": "<image_soft_token>",
}


def _gemma3_tokenizer() -> Any:
    turn = ("<start_of_turn>", "<end_of_turn>")
    return gemma_tokenizer((*turn, *_GEMMA_IMAGE.values()), _GEMMA_IMAGE)


def _gemma3(tokenizer: Any, tokens: int, config: Fields) -> Architecture:
    """Return a model that reads images as Gemma 3 does; each is that many `tokens`."""
    return Architecture(
        config=config,
        tokenizer=tokenizer,
        images={"image_processor_type": "Gemma3ImageProcessor", "size": SQUARE},
        processor="Gemma3Processor",
        options={"image_seq_length": tokens},
        template=turns("<start_of_image>", _GEMMA_TURNS, begin="{{ bos_token }}"),
        ends=("<eos>", "<end_of_turn>"),
    )


def _gemma3_layers(tokenizer: Any) -> dict[str, Any]:
    return layers(
        tokenizer,
        **{"num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"]},
        **{"sliding_window": 64, "query_pre_attn_scalar": HIDDEN // HEADS},
    )


def _gemma3_images(tokenizer: Any, tokens: int) -> dict[str, Any]:
    return {
        "vision_config": siglip_tower(),
        "mm_tokens_per_image": tokens,
        "image_token_index": tokenizer.image_token_id,
        "boi_token_index": tokenizer.boi_token_id,
        "eoi_token_index": tokenizer.eoi_token_id,
        "initializer_range": 0.08,
    }


def gemma3() -> Architecture:
    """Gemma 3 (Kamath et al. 2025): the tokens of an image see each other."""
    tokenizer, tokens = _gemma3_tokenizer(), 4
    text = {"text_config": _gemma3_layers(tokenizer)}
    images = _gemma3_images(tokenizer, tokens)
    return _gemma3(tokenizer, tokens, {"model_type": "gemma3", **text, **images})


def t5gemma2() -> Architecture:
    """T5Gemma 2: an encoder reads image and prompt as Gemma 3 does, a decoder writes."""
    tokenizer, tokens = _gemma3_tokenizer(), 4
    text, images = _gemma3_layers(tokenizer), _gemma3_images(tokenizer, tokens)
    config = {
        "model_type": "t5gemma2",
        "encoder": {"text_config": text, **images},
        "decoder": text,
        "image_token_index": tokenizer.image_token_id,
        "initializer_range": 0.08,
        "decoder_start_token_id": tokenizer.bos_token_id,
    }
    return _gemma3(tokenizer, tokens, config)


def gemma4() -> Architecture:
    """Gemma 4: images keep their shape; layers get an embedding of each token of their own."""
    roles = {
        "system": ("<|turn>system\n", "<turn|>\n"),
        "user": ("<|turn>user\n", "<turn|>\n"),
        "assistant": ("<|turn>model\n", "<turn|>\n"),
    }
    named = {
        **{"boi_token": "<|image>", "image_token": "<|image|>", "eoi_token": "<image|>"},
        **{"boa_token": "<|audio>", "audio_token": "<|audio|>", "eoa_token": "<audio|>"},
    }
    tokenizer = gemma_tokenizer(("<|turn>", "<turn|>", "<|video|>", *named.values()), named)
    tokens = 70  # the fewest that its image processor accepts
    return Architecture(
        config={
            "model_type": "gemma4",
            "text_config": layers(
                tokenizer,
                **{"num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"]},
                **{"sliding_window": 64, "hidden_size_per_layer_input": 8},
                **{"vocab_size_per_layer_input": len(tokenizer), "global_head_dim": 16},
            ),
            "vision_config": {
                **{"hidden_size": HIDDEN, "intermediate_size": 2 * HIDDEN, "head_dim": 16},
                **{"num_hidden_layers": 1, "num_attention_heads": HEADS, "num_key_value_heads": 2},
                **{"patch_size": 4, "pooling_kernel_size": 2, "position_embedding_size": 512},
                "initializer_range": 0.08,
            },
            "image_token_id": tokenizer.image_token_id,
            "video_token_id": tokenizer.convert_tokens_to_ids("<|video|>"),
            "audio_token_id": tokenizer.audio_token_id,
            "boi_token_id": tokenizer.boi_token_id,
            "eoi_token_id": tokenizer.eoi_token_id,
            "boa_token_id": tokenizer.boa_token_id,
            "eoa_token_index": tokenizer.eoa_token_id,
            "initializer_range": 0.08,
        },
        tokenizer=tokenizer,
        images={
            "image_processor_type": "Gemma4ImageProcessor",
            **{"patch_size": 4, "max_soft_tokens": tokens, "pooling_kernel_size": 2},
        },
        processor="Gemma4Processor",
        options={
            "image_seq_length": tokens,
            "feature_extractor": {"feature_extractor_type": "Gemma4AudioFeatureExtractor"},
        },
        videos="Gemma4VideoProcessor",
        template=turns("<|image|>", roles, begin="{{ bos_token }}"),
        ends=("<eos>", "<turn|>"),
    )


def paligemma2() -> Architecture:
    """PaliGemma 2 (Steiner et al. 2024): no turns, the prompt sees all of itself; Gemma 2."""
    places = [f"<loc{place:04}>" for place in range(1024)]
    segments = [f"<seg{segment:03}>" for segment in range(128)]
    tokenizer = gemma_tokenizer(("<image>", *places, *segments))
    return Architecture(
        config={
            "model_type": "paligemma",
            "text_config": layers(
                tokenizer,
                **{"model_type": "gemma2", "num_hidden_layers": 2, "sliding_window": 64},
                **{"query_pre_attn_scalar": HIDDEN // HEADS},
            ),
            "vision_config": siglip_tower(),
            "image_token_index": tokenizer.convert_tokens_to_ids("<image>"),
            "projection_dim": HIDDEN,
            "hidden_size": HIDDEN,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        },
        tokenizer=tokenizer,
        images={
            "image_processor_type": "SiglipImageProcessor",
            **{"size": SQUARE, "image_seq_length": (IMAGE_SIZE // PATCH_SIZE) ** 2},
        },
        processor="PaliGemmaProcessor",
    )
