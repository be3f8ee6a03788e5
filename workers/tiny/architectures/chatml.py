"""Architectures whose turns are written in ChatML: most of them have a language model of Qwen."""

from typing import Any

from workers.tiny.architectures.parts import (
    GRIDS,
    HEADS,
    HIDDEN,
    IMAGE_SIZE,
    PATCH_SIZE,
    SQUARE,
    Architecture,
    Fields,
    experts,
    layers,
    patch_tower,
    patches,
    siglip_tower,
    tower,
)
from workers.tiny.chat_templates import turns
from workers.tiny.tokenizers import byte_level_tokenizer

_ROLES = {
    role: (f"<|im_start|>{role}\n", "<|im_end|>\n") for role in ("system", "user", "assistant")
}
_ENDS = ("<|im_end|>", "<|endoftext|>")
_THINKS: dict[str, Any] = {
    "asked": (
        "<|im_start|>assistant\n{% if enable_thinking is defined and enable_thinking is false %}"
        "{{ '<think>\\n\\n</think>\\n\\n' }}{% else %}{{ '<think>\\n' }}{% endif %}"
    ),
    "answer": "<think>\n\n</think>\n\n",
}
"""Invites to think before the answer, unless told not to."""


def _tokenizer(*special: str, **named: str) -> Any:
    special = ("<|im_start|>", *special, *named.values())
    return byte_level_tokenizer(special, pad="<|endoftext|>", end="<|im_end|>", named=named)


def _qwen(
    model_type: str,
    *,
    text: Fields,
    vision: Fields,
    patch_size: int = 16,
    generation: int = 3,
    **template: str,
) -> Architecture:
    tokenizer = _tokenizer(
        *("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")
    )
    number = tokenizer.convert_tokens_to_ids
    return Architecture(
        config={
            "model_type": model_type,
            "text_config": layers(tokenizer, **text),
            "vision_config": vision,
            "image_token_id": number("<|image_pad|>"),
            "video_token_id": number("<|video_pad|>"),
            "vision_start_token_id": number("<|vision_start|>"),
            "vision_end_token_id": number("<|vision_end|>"),
        },
        tokenizer=tokenizer,
        images=patches("Qwen2VLImageProcessor", patch_size),
        processor=f"Qwen{generation}VLProcessor",
        videos=f"Qwen{generation}VLVideoProcessor",
        template=turns("<|vision_start|><|image_pad|><|vision_end|>", _ROLES, **template),
        ends=_ENDS,
    )


def _rope(*section: int, **others: Any) -> dict[str, Any]:
    """Return how positions in time, height and width share the halves of a head."""
    fields = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": list(section)}
    return {"rope_parameters": fields | others}


def qwen2_vl() -> Architecture:
    """Qwen2-VL (Wang et al. 2024)."""
    return _qwen(
        "qwen2_vl",
        text=_rope(2, 3, 3),
        vision={
            **{"depth": 1, "num_heads": HEADS, "embed_dim": HIDDEN, "hidden_size": HIDDEN},
            **{"mlp_ratio": 2, "patch_size": 14, "initializer_range": 0.08},
        },
        patch_size=14,
        generation=2,
        system="You are a helpful assistant.",
    )


_QWEN3_TOWER = patch_tower(patch_size=16, num_position_embeddings=64)
_DEEPSTACK = {**_QWEN3_TOWER, "deepstack_visual_indexes": [0]}


def qwen3_vl() -> Architecture:
    """Qwen3-VL: features of inner layers of its image encoder join layers of the text model."""
    return _qwen("qwen3_vl", text=_rope(4, 2, 2, mrope_interleaved=True), vision=_DEEPSTACK)


def qwen3_vl_moe() -> Architecture:
    """Qwen3-VL with a mixture of experts."""
    text = _rope(4, 2, 2, mrope_interleaved=True) | experts("num_experts")
    return _qwen("qwen3_vl_moe", text=text, vision=_DEEPSTACK)


_LINEAR_ATTENTION = {
    **{"num_hidden_layers": 2, "layer_types": ["linear_attention", "full_attention"]},
    **{"linear_key_head_dim": 8, "linear_value_head_dim": 8},
    **{"linear_num_key_heads": 2, "linear_num_value_heads": 2, "head_dim": 32},
    **_rope(2, 1, 1, mrope_interleaved=True, partial_rotary_factor=0.25),
}
"""The language model of Qwen3.5: a layer of each kind, positions in a quarter of each head."""


def qwen3_5() -> Architecture:
    """Qwen3.5: most layers have linear attention."""
    return _qwen("qwen3_5", text=_LINEAR_ATTENTION, vision=_QWEN3_TOWER, **_THINKS)


def qwen3_5_moe() -> Architecture:
    """Qwen3.5 with a mixture of experts, of which one is used for each token."""
    shared = {"shared_expert_intermediate_size": HIDDEN}
    text = _LINEAR_ATTENTION | experts("num_experts") | shared
    return _qwen("qwen3_5_moe", text=text, vision=_QWEN3_TOWER, **_THINKS)


def minicpmv4_6() -> Architecture:
    """MiniCPM-V 4.6: an image and slices of it, merged twice, before Qwen3.5."""
    tokenizer = _tokenizer(
        image_token="<|image_pad|>",
        video_token="<|video_pad|>",
        image_start_token="<image>",
        image_end_token="</image>",
        slice_start_token="<slice>",
        slice_end_token="</slice>",
        image_id_start_token="<image_id>",
        image_id_end_token="</image_id>",
    )
    return Architecture(
        config={
            "model_type": "minicpmv4_6",
            "text_config": layers(tokenizer, **_LINEAR_ATTENTION),
            "vision_config": tower(num_hidden_layers=3, image_size=64),
            "image_token_id": tokenizer.image_token_id,
            "video_token_id": tokenizer.video_token_id,
            "insert_layer_id": 0,
            "image_size": 64,
        },
        tokenizer=tokenizer,
        images={
            "image_processor_type": "MiniCPMV4_6ImageProcessor",
            **{"max_slice_nums": 4, "scale_resolution": 64, "patch_size": PATCH_SIZE},
        },
        processor="MiniCPMV4_6Processor",
        videos="MiniCPMV4_6VideoProcessor",
        template=turns("<|image_pad|>", _ROLES, **_THINKS),
        ends=_ENDS,
    )


def internvl() -> Architecture:
    """InternVL 3.5: an image is tiles and a thumbnail, each pixel-shuffled, before Qwen3."""
    tokenizer = _tokenizer(
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    tokens = (IMAGE_SIZE // PATCH_SIZE // 2) ** 2
    return Architecture(
        config={
            "model_type": "internvl",
            "text_config": layers(tokenizer, model_type="qwen3"),
            "vision_config": tower(
                image_size=[IMAGE_SIZE, IMAGE_SIZE], patch_size=[PATCH_SIZE, PATCH_SIZE]
            ),
            "image_token_id": tokenizer.context_image_token_id,
            "image_seq_length": tokens,
        },
        tokenizer=tokenizer,
        images={
            "image_processor_type": "GotOcr2ImageProcessor",
            **{"size": SQUARE, "crop_to_patches": True, "min_patches": 1, "max_patches": 4},
        },
        processor="InternVLProcessor",
        options={"image_seq_length": tokens},
        videos="InternVLVideoProcessor",
        template=turns("<IMG_CONTEXT>\n", _ROLES),
        ends=_ENDS,
    )


def llava_onevision() -> Architecture:
    """LLaVA-OneVision: SigLIP over tiles, with the padding of the grid cut off, before Qwen2."""
    tokenizer = _tokenizer("<image>", "<video>")
    number = tokenizer.convert_tokens_to_ids
    return Architecture(
        config={
            "model_type": "llava_onevision",
            "text_config": layers(tokenizer, model_type="qwen2"),
            "vision_config": siglip_tower(),
            "image_token_index": number("<image>"),
            "video_token_index": number("<video>"),
            "image_grid_pinpoints": GRIDS,
        },
        tokenizer=tokenizer,
        images={
            "image_processor_type": "LlavaOnevisionImageProcessor",
            **{"size": SQUARE, "image_grid_pinpoints": GRIDS},
        },
        processor="LlavaOnevisionProcessor",
        options={
            "num_image_tokens": (IMAGE_SIZE // PATCH_SIZE) ** 2,
            "vision_feature_select_strategy": "full",
        },
        videos="LlavaOnevisionVideoProcessor",
        template=turns("<image>\n", _ROLES),
        ends=_ENDS,
    )


def ovis2() -> Architecture:
    """Ovis2: an image becomes tokens of a vocabulary of its own, with marks of its grid."""
    marks = ("<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>")
    tokenizer = _tokenizer("<image>", "<IMG_ATOM>", *marks)
    number = tokenizer.convert_tokens_to_ids
    stride = 2
    return Architecture(
        config={
            "model_type": "ovis2",
            "text_config": layers(tokenizer, model_type="qwen2"),
            "vision_config": tower(vocab_size=24, hidden_stride=stride),
            "image_token_id": number("<IMG_ATOM>"),
            "visual_indicator_token_ids": number(list(marks)),
            "vocab_size": len(tokenizer),
            "hidden_size": HIDDEN,
        },
        tokenizer=tokenizer,
        images={
            "image_processor_type": "Ovis2ImageProcessor",
            **{"size": SQUARE, "crop_to_patches": True, "max_patches": 4},
        },
        processor="Ovis2Processor",
        options={"image_seq_length": (IMAGE_SIZE // PATCH_SIZE // stride) ** 2},
        template=turns("<image>\n", _ROLES),
        ends=_ENDS,
    )


def lighton_ocr() -> Architecture:
    """LightOnOCR: the vision tower of Pixtral, merged two by two, before Qwen3."""
    tokenizer = _tokenizer(
        image_token="<|image_pad|>",
        image_break_token="<|vision_pad|>",
        image_end_token="<|vision_end|>",
    )
    merged = 2
    return Architecture(
        config={
            "model_type": "lighton_ocr",
            "text_config": layers(tokenizer, model_type="qwen3"),
            "vision_config": tower(model_type="pixtral", image_size=64, head_dim=HIDDEN // HEADS),
            "image_token_id": tokenizer.image_token_id,
            "spatial_merge_size": merged,
        },
        tokenizer=tokenizer,
        images={
            "image_processor_type": "PixtralImageProcessor",
            **{"size": {"longest_edge": 64}, "patch_size": merged * PATCH_SIZE},
        },
        processor="LightOnOcrProcessor",
        options={"patch_size": PATCH_SIZE, "spatial_merge_size": merged},
        template=turns("<|image_pad|>", _ROLES),
        ends=_ENDS,
    )


def video_llama_3() -> Architecture:
    """VideoLLaMA 3: images keep their shape; the tokenizer names the image token, before Qwen2."""
    tokenizer = _tokenizer(image_token="<|image_pad|>", video_token="<|video_pad|>")
    return Architecture(
        config={
            "model_type": "video_llama_3",
            "text_config": layers(tokenizer, model_type="qwen2"),
            "vision_config": tower(patch_size=14),
            "image_token_id": tokenizer.image_token_id,
            "video_token_id": tokenizer.video_token_id,
        },
        tokenizer=tokenizer,
        images={
            "image_processor_type": "VideoLlama3ImageProcessor",
            **{"min_pixels": 28 * 28, "max_pixels": 56 * 56, "patch_size": 14, "merge_size": 1},
        },
        processor="VideoLlama3Processor",
        videos="VideoLlama3VideoProcessor",
        template=turns("<|image_pad|>\n", _ROLES),
        ends=_ENDS,
    )


def lfm2_vl() -> Architecture:
    """LFM2-VL: layers of short convolutions and of attention; SigLIP 2 over tiles."""
    tokenizer = byte_level_tokenizer(
        ("<|im_start|>", *(f"<|img_row_{row}_col_{col}|>" for row in (1, 2) for col in (1, 2))),
        pad="<|pad|>",
        end="<|im_end|>",
        begin="<|startoftext|>",
        named={
            **{"image_token": "<image>", "image_start_token": "<|image_start|>"},
            **{"image_end_token": "<|image_end|>", "image_thumbnail_token": "<|img_thumbnail|>"},
        },
    )
    shape = {"downsample_factor": 2}
    return Architecture(
        config={
            "model_type": "lfm2_vl",
            "text_config": layers(
                tokenizer,
                **{"model_type": "lfm2", "num_hidden_layers": 2, "block_multiple_of": 32},
                **{"layer_types": ["conv", "full_attention"]},
            ),
            "vision_config": tower(
                model_type="siglip2_vision_model", num_patches=16, vision_use_head=False
            ),
            "image_token_id": tokenizer.image_token_id,
            "projector_hidden_size": HIDDEN,
            **shape,
        },
        tokenizer=tokenizer,
        images={
            "image_processor_type": "Lfm2VlImageProcessor",
            **{"encoder_patch_size": PATCH_SIZE, "tile_size": IMAGE_SIZE, "max_tiles": 4},
            **{"min_image_tokens": 4, "max_image_tokens": 16, "size": SQUARE, **shape},
        },
        processor="Lfm2VlProcessor",
        template=turns("<image>", _ROLES, begin="{{ bos_token }}"),
    )
