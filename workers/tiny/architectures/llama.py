"""Architectures on Llama and Mistral: LLaVA, Granite, Idefics, SmolVLM, Pixtral, Llama 3.2."""

from collections.abc import Mapping
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
    layers,
    siglip_tower,
    tower,
)
from workers.tiny.chat_templates import Turn, turns
from workers.tiny.tokenizers import byte_level_tokenizer, llama_tokenizer

_VICUNA = {"system": ("", " "), "user": ("USER: ", " "), "assistant": ("ASSISTANT: ", "</s>")}
_INST = {
    "system": ("<<SYS>>\n", "\n<</SYS>>\n\n"),
    "user": ("[INST] ", " [/INST]"),
    "assistant": (" ", "</s>"),
}


def _llava(
    kind: str,
    roles: Mapping[str, Turn],
    asked: str,
    *,
    text: Fields,
    images: Fields,
    **config: Any,
) -> Architecture:
    """Return LLaVA with CLIP, of whose last layer but one it reads all tokens but the first."""
    tokenizer = llama_tokenizer(("<image>", "<pad>"))
    reads = {"vision_feature_select_strategy": "default"}
    clip = {"model_type": "clip_vision_model", "num_hidden_layers": 2, "projection_dim": HIDDEN}
    return Architecture(
        config={
            "model_type": kind,
            "vision_config": tower(**clip),
            "text_config": layers(tokenizer, **text),
            "image_token_index": tokenizer.convert_tokens_to_ids("<image>"),
            "vision_feature_layer": -2,
            **reads,
            **config,
        },
        tokenizer=tokenizer,
        images={**images, "size": {"shortest_edge": IMAGE_SIZE}, "crop_size": SQUARE},
        processor="LlavaProcessor" if kind == "llava" else "LlavaNextProcessor",
        options={**reads, "patch_size": PATCH_SIZE, "num_additional_image_tokens": 1},
        template=turns("<image>\n", roles, asked=asked),
    )


def llava() -> Architecture:
    """LLaVA 1.5 (Liu et al. 2023): CLIP, an MLP, and Vicuna."""
    text = {"model_type": "llama", "num_key_value_heads": HEADS}
    images = {"image_processor_type": "CLIPImageProcessor"}
    return _llava("llava", _VICUNA, "ASSISTANT:", text=text, images=images)


def llava_next() -> Architecture:
    """LLaVA-NeXT: an image is tiles and a thumbnail, before Mistral."""
    images = {"image_processor_type": "LlavaNextImageProcessor", "image_grid_pinpoints": GRIDS}
    text = {"model_type": "mistral"}
    return _llava("llava_next", _INST, "", text=text, images=images, image_grid_pinpoints=GRIDS)


_GRANITE = {
    role: (f"<|start_of_role|>{role}<|end_of_role|>", "<|end_of_text|>\n")
    for role in ("system", "user", "assistant")
}


def granite4_vision() -> Architecture:
    """Granite Vision 4: Q-Formers over windows of SigLIP's layers feed layers of the text model."""
    tokenizer = byte_level_tokenizer(
        ("<|start_of_role|>", "<|end_of_role|>", "<image>"),
        pad="<|pad|>",
        end="<|end_of_text|>",
    )
    rate = "1/2"
    width = 64  # of one head of its Q-Formers
    return Architecture(
        config={
            "model_type": "granite4_vision",
            "vision_config": siglip_tower(num_hidden_layers=2, hidden_size=width),
            "text_config": layers(tokenizer, num_hidden_layers=2),
            "qformer_config": {
                **{"hidden_size": width, "encoder_hidden_size": width},
                **{"num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": width},
            },
            "image_token_index": tokenizer.convert_tokens_to_ids("<image>"),
            "image_grid_pinpoints": GRIDS,
            "downsample_rate": rate,
            "deepstack_layer_map": [[-2, 0]],
            "spatial_target_layers": [0, 0, 1, 1],
            "spatial_vision_layer": -1,
            "vision_feature_select_strategy": "full",
        },
        tokenizer=tokenizer,
        images={
            "image_processor_type": "LlavaNextImageProcessor",
            **{"image_grid_pinpoints": GRIDS, "size": SQUARE, "crop_size": SQUARE},
        },
        processor="Granite4VisionProcessor",
        options={
            **{"vision_feature_select_strategy": "full", "patch_size": PATCH_SIZE},
            "downsample_rate": rate,
        },
        template=turns("<image>\n", _GRANITE),
    )


_IDEFICS_END = "<end_of_utterance>"
_IDEFICS = {
    role.lower(): (f"{role}: ", f"{_IDEFICS_END}\n") for role in ("System", "User", "Assistant")
}


def _idefics3(kind: str, begin: str, *, videos: str | None = None) -> Architecture:
    """Return Idefics3 or SmolVLM: an image is tiles, with names of their places, and the whole."""
    named = {
        "image_token": "<image>",
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
        "end_of_utterance_token": _IDEFICS_END,
    }
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = byte_level_tokenizer(
        (*named.values(), *tiles), pad="<|endoftext|>", end=_IDEFICS_END, begin=begin, named=named
    )
    merged = 2
    name = {"idefics3": "Idefics3", "smolvlm": "SmolVLM"}[kind]
    return Architecture(
        config={
            "model_type": kind,
            "text_config": layers(tokenizer, model_type="llama"),
            "vision_config": tower(),
            "image_token_id": tokenizer.image_token_id,
            "scale_factor": merged,
            "pad_token_id": tokenizer.pad_token_id,
        },
        tokenizer=tokenizer,
        images={
            "image_processor_type": f"{name}ImageProcessor",
            "size": {"longest_edge": 2 * IMAGE_SIZE},
            "max_image_size": {"longest_edge": IMAGE_SIZE},
        },
        processor=f"{name}Processor",
        options={"image_seq_len": (IMAGE_SIZE // PATCH_SIZE // merged) ** 2},
        videos=videos,
        template=turns("<image>", _IDEFICS, asked="Assistant:", begin=begin),
    )


def smolvlm() -> Architecture:
    """SmolVLM2 (Marafioti et al. 2025)."""
    return _idefics3("smolvlm", "<|im_start|>", videos="SmolVLMVideoProcessor")


def idefics3() -> Architecture:
    """Idefics3 (Laurençon et al. 2024)."""
    return _idefics3("idefics3", "<|begin_of_text|>")


def idefics2() -> Architecture:
    """Idefics2 (Laurençon et al. 2024): a perceiver makes few tokens of an image of any shape."""
    tokenizer = llama_tokenizer(("<fake_token_around_image>", "<image>", _IDEFICS_END, "<pad>"))
    latents = 4
    return Architecture(
        config={
            "model_type": "idefics2",
            "text_config": layers(tokenizer, model_type="mistral"),
            "vision_config": tower(),
            "perceiver_config": {
                **{"resampler_n_latents": latents, "resampler_depth": 1, "hidden_size": HIDDEN},
                **{"resampler_n_heads": HEADS, "resampler_head_dim": 16, "num_key_value_heads": 1},
            },
            "image_token_id": tokenizer.convert_tokens_to_ids("<image>"),
        },
        tokenizer=tokenizer,
        images={
            "image_processor_type": "Idefics2ImageProcessor",
            "size": {"shortest_edge": IMAGE_SIZE, "longest_edge": 2 * IMAGE_SIZE},
        },
        processor="Idefics2Processor",
        options={"image_seq_len": latents},
        template=turns("<image>", _IDEFICS, asked="Assistant:"),
        ends=(_IDEFICS_END, "</s>"),
    )


_TEKKEN = {
    "system": ("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
    "user": ("[INST]", "[/INST]"),
    "assistant": ("", "</s>"),
}


def _pixtral(kind: str, merged: int, **config: Any) -> Architecture:
    """Return a model that reads images of any shape, row by row, with a mark behind each row."""
    tokenizer = byte_level_tokenizer(
        (
            *("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
            *("[IMG]", "[IMG_BREAK]", "[IMG_END]"),
        ),
        pad="<pad>",
        end="</s>",
        begin="<s>",
    )
    return Architecture(
        config={
            "model_type": kind,
            "text_config": layers(tokenizer, model_type="mistral"),
            "vision_config": tower(model_type="pixtral", image_size=64, head_dim=HIDDEN // HEADS),
            "image_token_index": tokenizer.convert_tokens_to_ids("[IMG]"),
            "vision_feature_layer": -1,
            **config,
        },
        tokenizer=tokenizer,
        images={
            "image_processor_type": "PixtralImageProcessor",
            "size": {"longest_edge": 64},
            "patch_size": {"height": PATCH_SIZE, "width": PATCH_SIZE},
        },
        processor="PixtralProcessor",
        options={"patch_size": PATCH_SIZE, "spatial_merge_size": merged},
        template=turns("[IMG]", _TEKKEN, asked="", begin="{{ bos_token }}"),
    )


def llava_pixtral() -> Architecture:
    """Pixtral 12B (Agrawal et al. 2024), whose checkpoint has LLaVA's type."""
    return _pixtral("llava", 1, vision_feature_select_strategy="full")


def mistral3() -> Architecture:
    """Mistral Small 3.1: Pixtral's vision tower, merged two by two."""
    return _pixtral("mistral3", 2, spatial_merge_size=2)


def mllama() -> Architecture:
    """Llama 3.2 Vision: images enter by layers of cross-attention, and have one token each."""
    roles = {
        role: (f"<|start_header_id|>{role}<|end_header_id|>\n\n", "<|eot_id|>")
        for role in ("user", "assistant")
    }
    refused = "Prompting with images is incompatible with system messages."
    tokenizer = byte_level_tokenizer(
        ("<|start_header_id|>", "<|end_header_id|>", "<|end_of_text|>", "<|python_tag|>"),
        pad="<|finetune_right_pad_id|>",
        end="<|eot_id|>",
        begin="<|begin_of_text|>",
    )
    words = len(tokenizer)
    tokenizer.add_tokens(["<|image|>"], special_tokens=True)
    # The image token stands behind the vocabulary: it has an embedding, but is never predicted.
    text = layers(tokenizer, num_hidden_layers=2, cross_attention_layers=[1])
    text["vocab_size"] = words
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": 500_000.0}
    return Architecture(
        config={
            "model_type": "mllama",
            "text_config": text,
            "vision_config": {
                **{"hidden_size": HIDDEN, "intermediate_size": 2 * HIDDEN},
                **{"num_hidden_layers": 1, "num_global_layers": 1, "attention_heads": HEADS},
                **{"intermediate_layers_indices": [0], "vision_output_dim": 2 * HIDDEN},
                **{"image_size": IMAGE_SIZE, "patch_size": PATCH_SIZE, "max_num_tiles": 4},
                "initializer_range": 0.08,
            },
            "image_token_index": words,
        },
        tokenizer=tokenizer,
        images={"image_processor_type": "MllamaImageProcessor", "size": SQUARE},
        processor="MllamaProcessor",
        template=turns(
            "<|image|>",
            {"system": (f"{{{{ raise_exception('{refused}') }}}}", ""), **roles},
            begin="{{ bos_token }}",
        ),
        ends=("<|eot_id|>", "<|end_of_text|>"),
    )


def llama4() -> Architecture:
    """Llama 4: experts in each layer, tiles of an image with marks between them."""
    tokenizer = byte_level_tokenizer(
        (
            *("<|header_start|>", "<|header_end|>", "<|image_start|>", "<|image_end|>"),
            *("<|image|>", "<|patch|>", "<|tile_x_separator|>", "<|tile_y_separator|>"),
        ),
        pad="<|finetune_right_pad|>",
        end="<|eot|>",
        begin="<|begin_of_text|>",
    )
    roles = {
        role: (f"<|header_start|>{role}<|header_end|>\n\n", "<|eot|>")
        for role in ("system", "user", "assistant")
    }
    return Architecture(
        config={
            "model_type": "llama4",
            "text_config": layers(
                tokenizer,
                **{"num_hidden_layers": 2, "no_rope_layers": [1, 0], "num_local_experts": 4},
                **{"intermediate_size_mlp": 2 * HIDDEN, "attention_chunk_size": 64},
            ),
            "vision_config": tower(
                vision_output_dim=HIDDEN,
                **{"projector_input_dim": HIDDEN, "projector_output_dim": HIDDEN},
                intermediate_size=4 * HIDDEN,
            ),
            "image_token_index": tokenizer.convert_tokens_to_ids("<|patch|>"),
            "boi_token_index": tokenizer.convert_tokens_to_ids("<|image_start|>"),
            "eoi_token_index": tokenizer.convert_tokens_to_ids("<|image_end|>"),
        },
        tokenizer=tokenizer,
        images={
            "image_processor_type": "Llama4ImageProcessor",
            **{"size": SQUARE, "max_patches": 4},
        },
        processor="Llama4Processor",
        options={"patch_size": PATCH_SIZE},
        template=turns("<|image|>", roles, begin="{{ bos_token }}"),
    )
