"""Tiny checkpoints of many architectures, each as a download of the real one would look.

What is saved is what a hub's folder has: config, weights, generation config, tokenizer, the
processor's files and the chat template; hidden sizes are some tens, layers one or two of each
kind. The processors' files are written here, not saved by their classes, some of which are made
only where torchvision is installed. Random weights prove plumbing, not quality.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from workers.tiny import checkpoints
from workers.tiny.chat_templates import Turn, turns
from workers.tiny.tokenizers import byte_level_tokenizer, gemma_tokenizer, llama_tokenizer

Fields = Mapping[str, Any]
HIDDEN = 32
HEADS = 2
IMAGE_SIZE = 32
"""Width and height of a tile, or of an image whose size is fixed, pixels."""
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
    template: str
    options: Fields = field(default_factory=dict)
    """processor_config.json, without the processor's class."""
    videos: str | None = None
    """Class of the video processor, where the processor has one."""
    ends: Sequence[str] = ()
    """Tokens that end a text; the tokenizer's own if empty."""


def build(name: str, folder: Path, seed: int = 0) -> None:
    """Write the checkpoint of the architecture `name`, one of `ARCHITECTURES`, to `folder`.

    The same seed gives the same weights; the process's random state is untouched. Raises
    ValueError for an unknown architecture.
    """
    if name in checkpoints.VARIANTS:
        return checkpoints.build(name, folder, seed)
    if name not in ARCHITECTURES:
        raise ValueError(f"an architecture must be one of {', '.join(ARCHITECTURES)}; got {name!r}")
    _write(ARCHITECTURES[name](), folder, seed)


def _write(made: Architecture, folder: Path, seed: int) -> None:
    from transformers import AutoConfig, AutoModelForImageTextToText

    tokenizer = made.tokenizer
    ends = tokenizer.convert_tokens_to_ids(list(made.ends or [tokenizer.eos_token]))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(AutoConfig.for_model(**made.config))
        _make_images_count(model)
    model.generation_config.eos_token_id = ends if len(ends) > 1 else ends[0]
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.bos_token_id = tokenizer.bos_token_id
    model.save_pretrained(folder)
    tokenizer._set_processor_class(made.processor)
    tokenizer.save_pretrained(folder)
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
            if parameter.dim() > 1 and parameter.std() < 0.03:
                parameter.normal_(0.0, 0.08)


def _layers(tokenizer: Any, **others: Any) -> dict[str, Any]:
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


def _tower(**others: Any) -> dict[str, Any]:
    """Return the fields of a vision tower of CLIP's kind."""
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


def _siglip(**others: Any) -> dict[str, Any]:
    return _tower(model_type="siglip_vision_model", vision_use_head=False, **others)


def _experts(number: str) -> dict[str, Any]:
    """Return the fields of a mixture of four experts; `number` names the field of their number."""
    return {number: 4, "num_experts_per_tok": 2, "moe_intermediate_size": HIDDEN}


# --- ChatML: Qwen, InternVL, LLaVA-OneVision, Ovis2, MiniCPM-V -------------------------------

_CHATML = {role: (f"<|im_start|>{role}\n", "<|im_end|>\n") for role in ("system", "user")} | {
    "assistant": ("<|im_start|>assistant\n", "<|im_end|>\n")
}
_QWEN_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
_QWEN_TOKENS = (
    *("<|im_start|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
)
_THINKING = "<think>\n\n</think>\n\n"
_THINKING_ASKED = (
    "<|im_start|>assistant\n{% if enable_thinking is defined and enable_thinking is false %}"
    "{{ '<think>\\n\\n</think>\\n\\n' }}{% else %}{{ '<think>\\n' }}{% endif %}"
)
"""Invites to think before the answer, unless told not to."""


def _chatml_tokenizer(*special: str, **named: str) -> Any:
    return byte_level_tokenizer(
        ("<|im_start|>", *special), pad="<|endoftext|>", end="<|im_end|>", named=named
    )


def _qwen(
    model_type: str,
    text: Fields,
    vision: Fields,
    *,
    patch: int = 16,
    processor: str = "Qwen3VLProcessor",
    videos: str = "Qwen3VLVideoProcessor",
    thinks: bool = False,
    system: str | None = None,
) -> Architecture:
    tokenizer = _chatml_tokenizer(*_QWEN_TOKENS[1:])
    number = tokenizer.convert_tokens_to_ids
    seen = {"depth": 1, "num_heads": HEADS, "hidden_size": HIDDEN, "initializer_range": 0.08}
    return Architecture(
        config={
            "model_type": model_type,
            "text_config": _layers(tokenizer, **text),
            "vision_config": {**seen, **vision},
            "image_token_id": number("<|image_pad|>"),
            "video_token_id": number("<|video_pad|>"),
            "vision_start_token_id": number("<|vision_start|>"),
            "vision_end_token_id": number("<|vision_end|>"),
        },
        tokenizer=tokenizer,
        images={
            "image_processor_type": "Qwen2VLImageProcessor",
            **{"size": PIXELS, "patch_size": patch, "temporal_patch_size": 2, "merge_size": 2},
        },
        processor=processor,
        videos=videos,
        template=turns(
            _QWEN_IMAGE,
            _CHATML,
            system=system,
            **({"asked": _THINKING_ASKED, "answer": _THINKING} if thinks else {}),
        ),
        ends=("<|im_end|>", "<|endoftext|>"),
    )


def _qwen2_vl() -> Architecture:
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10_000.0}
    return _qwen(
        "qwen2_vl",
        {"rope_parameters": rope},
        {"embed_dim": HIDDEN, "mlp_ratio": 2, "patch_size": 14},
        patch=14,
        processor="Qwen2VLProcessor",
        videos="Qwen2VLVideoProcessor",
        system="You are a helpful assistant.",
    )


def _qwen3_rope(*section: int, **others: Any) -> dict[str, Any]:
    values = {"mrope_section": list(section), "mrope_interleaved": True, **others}
    return {"rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, **values}}


_QWEN3_VISION = {
    "intermediate_size": 2 * HIDDEN,
    "out_hidden_size": HIDDEN,
    "patch_size": 16,
    "num_position_embeddings": 64,
}


def _qwen3_vl() -> Architecture:
    return _qwen(
        "qwen3_vl", _qwen3_rope(4, 2, 2), _QWEN3_VISION | {"deepstack_visual_indexes": [0]}
    )


def _qwen3_vl_moe() -> Architecture:
    text = _qwen3_rope(4, 2, 2) | _experts("num_experts")
    vision = _QWEN3_VISION | {"deepstack_visual_indexes": [0]}
    return _qwen("qwen3_vl_moe", text, vision)


_LINEAR_ATTENTION = {
    "num_hidden_layers": 2,
    "layer_types": ["linear_attention", "full_attention"],
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "head_dim": 32,
    **_qwen3_rope(2, 1, 1, partial_rotary_factor=0.25),
}
"""A text model of Qwen3.5: a layer of each kind, and positions in a quarter of each head."""


def _qwen3_5() -> Architecture:
    return _qwen("qwen3_5", _LINEAR_ATTENTION, _QWEN3_VISION, thinks=True)


def _qwen3_5_moe() -> Architecture:
    shared = {"shared_expert_intermediate_size": HIDDEN}
    text = _LINEAR_ATTENTION | _experts("num_experts") | shared
    return _qwen("qwen3_5_moe", text, _QWEN3_VISION, thinks=True)


def _internvl() -> Architecture:
    tokenizer = _chatml_tokenizer(
        "<video>",
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    size = [IMAGE_SIZE, IMAGE_SIZE]
    return Architecture(
        config={
            "model_type": "internvl",
            "text_config": _layers(tokenizer, model_type="qwen3"),
            "vision_config": _tower(image_size=size, patch_size=[PATCH_SIZE, PATCH_SIZE]),
            "image_token_id": tokenizer.context_image_token_id,
            "image_seq_length": 4,
        },
        tokenizer=tokenizer,
        images={
            "image_processor_type": "GotOcr2ImageProcessor",
            "size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
            **{"crop_to_patches": True, "min_patches": 1, "max_patches": 4},
        },
        processor="InternVLProcessor",
        options={"image_seq_length": 4},
        videos="InternVLVideoProcessor",
        template=turns("<IMG_CONTEXT>\n", _CHATML),
    )


def _llava_onevision() -> Architecture:
    tokenizer = _chatml_tokenizer("<image>", "<video>")
    number = tokenizer.convert_tokens_to_ids
    patches = (IMAGE_SIZE // PATCH_SIZE) ** 2
    return Architecture(
        config={
            "model_type": "llava_onevision",
            "text_config": _layers(tokenizer, model_type="qwen2"),
            "vision_config": _siglip(),
            "image_token_index": number("<image>"),
            "video_token_index": number("<video>"),
            "image_grid_pinpoints": GRIDS,
            "vision_feature_layer": -1,
        },
        tokenizer=tokenizer,
        images={
            "image_processor_type": "LlavaOnevisionImageProcessor",
            "size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
            "image_grid_pinpoints": GRIDS,
        },
        processor="LlavaOnevisionProcessor",
        options={
            **{"num_image_tokens": patches, "vision_feature_select_strategy": "full"},
            **{"image_token": "<image>", "video_token": "<video>"},
        },
        videos="LlavaOnevisionVideoProcessor",
        template=turns("<image>\n", _CHATML),
    )


# --- LLaVA ------------------------------------------------------------------------------------

_VICUNA = {
    "system": ("", " "),
    "user": ("USER: ", " "),
    "assistant": ("ASSISTANT: ", "</s>"),
}
_INST = {
    "system": ("<<SYS>>\n", "\n<</SYS>>\n\n"),
    "user": ("[INST] ", " [/INST]"),
    "assistant": (" ", "</s>"),
}
_CLIP_TOWER = {"model_type": "clip_vision_model", "num_hidden_layers": 2, "projection_dim": HIDDEN}
_CLIP_CUT = {
    "size": {"shortest_edge": IMAGE_SIZE},
    "crop_size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
}


def _llava_of(
    kind: str, config: Fields, images: Fields, roles: Mapping[str, Turn], asked: str
) -> Architecture:
    """Return LLaVA with CLIP, of whose last layer but one it reads all tokens but the first."""
    tokenizer = llama_tokenizer(("<image>", "<pad>"))
    reads = {"patch_size": PATCH_SIZE, "vision_feature_select_strategy": "default"}
    return Architecture(
        config={
            "model_type": kind,
            "vision_config": _tower(**_CLIP_TOWER),
            "text_config": _layers(tokenizer, **config.get("text_config", {})),
            "image_token_index": tokenizer.convert_tokens_to_ids("<image>"),
            "vision_feature_layer": -2,
            "vision_feature_select_strategy": "default",
            **{key: value for key, value in config.items() if key != "text_config"},
        },
        tokenizer=tokenizer,
        images={**_CLIP_CUT, **images},
        processor="LlavaProcessor" if kind == "llava" else "LlavaNextProcessor",
        options={**reads, "image_token": "<image>", "num_additional_image_tokens": 1},
        template=turns("<image>\n", roles, asked=asked),
    )


def _llava() -> Architecture:
    text = {"model_type": "llama", "num_key_value_heads": HEADS}
    images = {"image_processor_type": "CLIPImageProcessor"}
    return _llava_of("llava", {"text_config": text}, images, _VICUNA, "ASSISTANT:")


def _llava_next() -> Architecture:
    config = {"text_config": {"model_type": "mistral"}, "image_grid_pinpoints": GRIDS}
    images = {"image_processor_type": "LlavaNextImageProcessor", "image_grid_pinpoints": GRIDS}
    return _llava_of("llava_next", config, images, _INST, "")


# --- Idefics: SmolVLM2, Idefics3, Idefics2 -----------------------------------------------------

_IDEFICS_END = "<end_of_utterance>"
_IDEFICS = {
    "system": ("System: ", f"{_IDEFICS_END}\n"),
    "user": ("User: ", f"{_IDEFICS_END}\n"),
    "assistant": ("Assistant: ", f"{_IDEFICS_END}\n"),
}
_TILES = tuple(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7))


def _idefics3_of(kind: str, begin: str, text: Fields, **parts: Any) -> Architecture:
    named = {"image_token": "<image>", "fake_image_token": "<fake_token_around_image>"}
    named |= {"global_image_token": "<global-img>", "end_of_utterance_token": _IDEFICS_END}
    tokenizer = byte_level_tokenizer(
        (*named.values(), *_TILES),
        pad="<|endoftext|>",
        end=_IDEFICS_END,
        begin=begin,
        named=named,
    )
    merged = 2
    return Architecture(
        config={
            "model_type": kind,
            "text_config": _layers(tokenizer, **text),
            "vision_config": _tower(),
            "image_token_id": tokenizer.image_token_id,
            "scale_factor": merged,
            "pad_token_id": tokenizer.pad_token_id,
        },
        tokenizer=tokenizer,
        images={
            "size": {"longest_edge": 2 * IMAGE_SIZE},
            "max_image_size": {"longest_edge": IMAGE_SIZE},
            **parts.pop("images"),
        },
        options={"image_seq_len": (IMAGE_SIZE // PATCH_SIZE // merged) ** 2},
        template=turns("<image>", _IDEFICS, asked="Assistant:", begin=begin),
        **parts,
    )


def _smolvlm() -> Architecture:
    return _idefics3_of(
        "smolvlm",
        "<|im_start|>",
        {"model_type": "llama"},
        images={"image_processor_type": "SmolVLMImageProcessor"},
        processor="SmolVLMProcessor",
        videos="SmolVLMVideoProcessor",
    )


def _idefics3() -> Architecture:
    return _idefics3_of(
        "idefics3",
        "<|begin_of_text|>",
        {"model_type": "llama"},
        images={"image_processor_type": "Idefics3ImageProcessor"},
        processor="Idefics3Processor",
    )


def _idefics2() -> Architecture:
    tokenizer = llama_tokenizer(("<fake_token_around_image>", "<image>", _IDEFICS_END, "<pad>"))
    latents = 4
    perceiver = {"resampler_n_heads": HEADS, "resampler_head_dim": 16, "num_key_value_heads": 1}
    return Architecture(
        config={
            "model_type": "idefics2",
            "text_config": _layers(tokenizer, model_type="mistral"),
            "vision_config": _tower(),
            "perceiver_config": {
                **perceiver,
                **{"hidden_size": HIDDEN, "resampler_n_latents": latents, "resampler_depth": 1},
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


# --- Gemma ------------------------------------------------------------------------------------

_GEMMA = {
    "system": ("<start_of_turn>user\n", "<end_of_turn>\n"),
    "user": ("<start_of_turn>user\n", "<end_of_turn>\n"),
    "assistant": ("<start_of_turn>model\n", "<end_of_turn>\n"),
}


def _gemma3() -> Architecture:
    named = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    named |= {"image_token": "<image_soft_token>"}
    tokenizer = gemma_tokenizer(("<start_of_turn>", "<end_of_turn>", *named.values()), named)
    tokens = 4
    layers = {"num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"]}
    return Architecture(
        config={
            "model_type": "gemma3",
            "text_config": _layers(
                tokenizer, **layers, sliding_window=64, query_pre_attn_scalar=HIDDEN // HEADS
            ),
            "vision_config": _siglip(),
            "mm_tokens_per_image": tokens,
            "image_token_index": tokenizer.image_token_id,
            "boi_token_index": tokenizer.boi_token_id,
            "eoi_token_index": tokenizer.eoi_token_id,
            "initializer_range": 0.08,
        },
        tokenizer=tokenizer,
        images={
            "image_processor_type": "Gemma3ImageProcessor",
            "size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        },
        processor="Gemma3Processor",
        options={"image_seq_length": tokens},
        template=turns("<start_of_image>", _GEMMA, begin="{{ bos_token }}"),
        ends=("<eos>", "<end_of_turn>"),
    )


ARCHITECTURES: Mapping[str, Callable[[], Any]] = {
    **checkpoints.VARIANTS,
    "qwen2_vl": _qwen2_vl,
    "qwen3_vl": _qwen3_vl,
    "qwen3_vl_moe": _qwen3_vl_moe,
    "qwen3_5": _qwen3_5,
    "qwen3_5_moe": _qwen3_5_moe,
    "internvl": _internvl,
    "llava": _llava,
    "llava_next": _llava_next,
    "llava_onevision": _llava_onevision,
    "smolvlm": _smolvlm,
    "idefics3": _idefics3,
    "idefics2": _idefics2,
    "gemma3": _gemma3,
}
"""Architecture -> its builder; the first five have families of their own."""
