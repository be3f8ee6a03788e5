"""Architectures on language models of their own: GLM-4V, Aya Vision, ERNIE, DeepSeek-VL."""

from collections.abc import Mapping, Sequence
from typing import Any

from workers.tiny.architectures.parts import (
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
)
from workers.tiny.chat_templates import turns
from workers.tiny.tokenizers import byte_level_tokenizer


def _glm(kind: str, text: Fields, name: str = "Glm4v") -> Architecture:
    """Return GLM-4V: no token ends a turn, the next turn's first does."""
    roles = {role: (f"<|{role}|>\n", "") for role in ("system", "user", "assistant")}
    tokenizer = byte_level_tokenizer(
        (
            *("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"),
            *("<|begin_of_image|>", "<|image|>", "<|end_of_image|>"),
            *("<|begin_of_video|>", "<|video|>", "<|end_of_video|>"),
        ),
        pad="<|endoftext|>",
        end="<|endoftext|>",
    )
    number = tokenizer.convert_tokens_to_ids
    return Architecture(
        config={
            "model_type": kind,
            "text_config": layers(tokenizer, **text),
            "vision_config": patch_tower(image_size=112, hidden_act="silu"),
            "image_token_id": number("<|image|>"),
            "image_start_token_id": number("<|begin_of_image|>"),
            "image_end_token_id": number("<|end_of_image|>"),
            "video_token_id": number("<|video|>"),
            "video_start_token_id": number("<|begin_of_video|>"),
            "video_end_token_id": number("<|end_of_video|>"),
        },
        tokenizer=tokenizer,
        images=patches(f"{name}ImageProcessor"),
        processor=f"{name}Processor",
        videos=f"{name}VideoProcessor",
        template=turns("<|begin_of_image|><|image|><|end_of_image|>", roles, begin="[gMASK]<sop>"),
        ends=("<|endoftext|>", "<|user|>", "<|observation|>"),
    )


def _glm_rope(*section: int, **others: Any) -> dict[str, Any]:
    fields = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": list(section)}
    return {"rope_parameters": fields | others}


def glm4v() -> Architecture:
    """GLM-4.1V (Hong et al. 2025)."""
    return _glm("glm4v", _glm_rope(2, 3, 3))


def glm46v() -> Architecture:
    """GLM-4.6V."""
    return _glm("glm46v", {"model_type": "glm4v_text", **_glm_rope(2, 3, 3)}, "Glm46V")


def glm4v_moe() -> Architecture:
    """GLM-4.5V: a dense layer, and one with a mixture of experts."""
    sizes = {"num_hidden_layers": 2, "first_k_dense_replace": 1, "n_shared_experts": 1}
    rope = _glm_rope(1, 1, 2, partial_rotary_factor=0.5)
    return _glm("glm4v_moe", experts("n_routed_experts") | sizes | rope)


_TURN, _OVER = "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"
_SAYS, _SAID = "<|START_RESPONSE|>", "<|END_RESPONSE|>"
_SPEAKERS = ("<|SYSTEM_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>")


def _cohere(
    kind: str, special: Sequence[str], named: Mapping[str, str], image: str, **parts: Any
) -> Architecture:
    """Return a model on Command R7B; `image` is its token for a part of an image."""
    tokenizer = byte_level_tokenizer(
        (_TURN, *_SPEAKERS, _SAYS, _SAID, *special),
        pad="<PAD>",
        end=_OVER,
        begin="<BOS_TOKEN>",
        named=named,
    )
    system, user, chatbot = (f"{_TURN}{speaker}" for speaker in _SPEAKERS)
    return Architecture(
        config={
            "model_type": kind,
            "text_config": layers(
                tokenizer,
                **{"model_type": "cohere2", "num_hidden_layers": 2, "sliding_window": 64},
                **{"layer_types": ["sliding_attention", "full_attention"], "logit_scale": 1.0},
            ),
            "vision_config": siglip_tower(),
            "image_token_id": tokenizer.convert_tokens_to_ids(image),
            "downsample_factor": 2,
            **parts.pop("config", {}),
        },
        tokenizer=tokenizer,
        template=turns(
            parts.pop("placeholder"),
            {
                "system": (system, _OVER),
                "user": (user, _OVER),
                "assistant": (chatbot, _SAID + _OVER),
            },
            asked=f"{chatbot}{_SAYS}",
            begin="{{ bos_token }}",
            answer=_SAYS,
        ),
        **parts,
    )


def aya_vision() -> Architecture:
    """Aya Vision (Dash et al. 2025): the placeholder of an image is a word, not a token."""
    marks = ("<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_LINE_BREAK|>", "TILE", "TILE_GLOBAL")
    return _cohere(
        "aya_vision",
        (*marks, "<|IMG_PATCH|>"),
        {},
        "<|IMG_PATCH|>",
        placeholder="<image>",
        images={
            "image_processor_type": "GotOcr2ImageProcessor",
            **{"size": SQUARE, "crop_to_patches": True, "min_patches": 1, "max_patches": 4},
        },
        processor="AyaVisionProcessor",
        options={"patch_size": PATCH_SIZE, "img_size": IMAGE_SIZE, "downsample_factor": 2},
    )


def cohere2_vision() -> Architecture:
    """Command A Vision: tiles of SigLIP, each with a line break behind it."""
    named = {
        **{"image_token": "<|IMG_PATCH|>", "img_line_break_token": "<|IMG_LINE_BREAK|>"},
        **{"boi_token": "<|START_OF_IMG|>", "eoi_token": "<|END_OF_IMG|>"},
    }
    return _cohere(
        "cohere2_vision",
        tuple(named.values()),
        named,
        named["image_token"],
        placeholder=named["image_token"],
        config={"alignment_intermediate_size": 2 * HIDDEN},
        images={
            "image_processor_type": "Cohere2VisionImageProcessor",
            **{"size": SQUARE, "max_patches": 4, "patch_size": IMAGE_SIZE // PATCH_SIZE // 2},
        },
        processor="Cohere2VisionProcessor",
    )


def ernie4_5_vl_moe() -> Architecture:
    """ERNIE 4.5 VL: experts of its own for tokens of images."""
    named = {
        **{"image_token": "<|IMAGE_PLACEHOLDER|>", "video_token": "<|VIDEO_PLACEHOLDER|>"},
        **{"image_start_token": "<|IMAGE_START|>", "image_end_token": "<|IMAGE_END|>"},
        **{"video_start_token": "<|VIDEO_START|>", "video_end_token": "<|VIDEO_END|>"},
    }
    end = "<|end_of_sentence|>"
    tokenizer = byte_level_tokenizer(
        ("<|begin_of_sentence|>", end, *named.values()),
        pad="<unk>",
        end="</s>",
        named=named,
    )
    ids = {f"{name}_id": tokenizer.convert_tokens_to_ids(token) for name, token in named.items()}
    return Architecture(
        config={
            "model_type": "ernie4_5_vl_moe",
            "text_config": layers(
                tokenizer,
                **{"num_hidden_layers": 2, "mlp_layer_types": ["dense", "sparse"]},
                **{"moe_intermediate_size": [HIDDEN, HIDDEN // 2], "moe_k": 2},
                **{"moe_num_experts": 4, "moe_num_shared_experts": 1},
                **_glm_rope(3, 3, 2),
            ),
            "vision_config": patch_tower(temporal_merge_size=2),
            **ids,
        },
        tokenizer=tokenizer,
        images=patches("Ernie4_5_VLMoeImageProcessor") | {"temporal_patch_size": 1},
        processor="Ernie4_5_VLMoeProcessor",
        videos="Ernie4_5_VLMoeVideoProcessor",
        template=turns(
            "Picture 1:<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>",
            {
                "system": ("", "\n"),
                "user": ("User: ", "\n"),
                "assistant": ("Assistant: ", end),
            },
            begin="<|begin_of_sentence|>",
        ),
        ends=("</s>", end),
    )


def _deepseek(kind: str, processor: str, images: Fields, **config: Any) -> Architecture:
    end = "<｜end▁of▁sentence｜>"
    tokenizer = byte_level_tokenizer(
        ("<image_placeholder>",),
        pad="<｜▁pad▁｜>",
        end=end,
        begin="<｜begin▁of▁sentence｜>",
        named={"image_token": "<image_placeholder>"},
    )
    return Architecture(
        config={
            "model_type": kind,
            "text_config": layers(tokenizer, model_type="llama"),
            "vision_config": siglip_tower(),
            "image_token_id": tokenizer.image_token_id,
            **config,
        },
        tokenizer=tokenizer,
        images={"image_processor_type": f"{processor}ImageProcessor", "size": SQUARE, **images},
        processor=f"{processor}Processor",
        options={"num_image_tokens": (IMAGE_SIZE // PATCH_SIZE) ** 2},
        template=turns(
            "<image_placeholder>",
            {
                "system": ("", "\n\n"),
                "user": ("User: ", "\n\n"),
                "assistant": ("Assistant: ", end),
            },
            asked="Assistant:",
            system="You are a helpful language and vision assistant.",
        ),
    )


def deepseek_vl() -> Architecture:
    """DeepSeek-VL 1.3B (Lu et al. 2024)."""
    return _deepseek("deepseek_vl", "DeepseekVL", {})


def deepseek_vl_hybrid() -> Architecture:
    """DeepSeek-VL 7B: SigLIP reads an image small, SAM reads it large."""
    large = 2 * IMAGE_SIZE
    return _deepseek(
        "deepseek_vl_hybrid",
        "DeepseekVLHybrid",
        {"high_res_size": {"height": large, "width": large}},
        high_res_vision_config={
            **{"hidden_size": HIDDEN, "mlp_dim": 2 * HIDDEN, "num_hidden_layers": 1},
            **{"num_attention_heads": HEADS, "image_size": large, "patch_size": PATCH_SIZE},
            **{"output_channels": HIDDEN, "global_attn_indexes": [0], "initializer_range": 0.08},
        },
    )
