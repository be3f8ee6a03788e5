"""Tiny checkpoints of many architectures, each as a download of the real one would look.

What is saved is what a hub's folder has: config, weights, generation config, tokenizer, the
processor's files and the chat template; hidden sizes are some tens, layers one or two of each
kind. Random weights prove plumbing, not quality.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from workers.tiny import checkpoints
from workers.tiny.architectures import chatml, gemma, llama, others
from workers.tiny.architectures.parts import Architecture, write

_MADE: Mapping[str, Callable[[], Architecture]] = {
    "aya_vision": others.aya_vision,
    "cohere2_vision": others.cohere2_vision,
    "deepseek_vl": others.deepseek_vl,
    "deepseek_vl_hybrid": others.deepseek_vl_hybrid,
    "ernie4_5_vl_moe": others.ernie4_5_vl_moe,
    "gemma3": gemma.gemma3,
    "gemma4": gemma.gemma4,
    "glm46v": others.glm46v,
    "glm4v": others.glm4v,
    "glm4v_moe": others.glm4v_moe,
    "granite4_vision": llama.granite4_vision,
    "idefics2": llama.idefics2,
    "idefics3": llama.idefics3,
    "internvl": chatml.internvl,
    "lfm2_vl": chatml.lfm2_vl,
    "lighton_ocr": chatml.lighton_ocr,
    "llama4": llama.llama4,
    "llava": llama.llava,
    "llava_next": llama.llava_next,
    "llava_onevision": chatml.llava_onevision,
    "llava-pixtral": llama.llava_pixtral,
    "minicpmv4_6": chatml.minicpmv4_6,
    "mistral3": llama.mistral3,
    "mllama": llama.mllama,
    "ovis2": chatml.ovis2,
    "paligemma2": gemma.paligemma2,
    "qwen2_vl": chatml.qwen2_vl,
    "qwen3_5": chatml.qwen3_5,
    "qwen3_5_moe": chatml.qwen3_5_moe,
    "qwen3_vl": chatml.qwen3_vl,
    "qwen3_vl_moe": chatml.qwen3_vl_moe,
    "smolvlm": llama.smolvlm,
    "t5gemma2": gemma.t5gemma2,
    "video_llama_3": chatml.video_llama_3,
}
ARCHITECTURES: tuple[str, ...] = tuple(sorted({*checkpoints.VARIANTS, *_MADE}))
"""All that `build` knows, by the config's model_type, with a suffix where there are several."""


def build(name: str, folder: Path, seed: int = 0) -> None:
    """Write the checkpoint of the architecture `name`, one of `ARCHITECTURES`, to `folder`.

    The same seed gives the same weights; the process's random state is untouched. Raises
    ValueError for an unknown architecture.
    """
    if name in _MADE:
        write(_MADE[name](), folder, seed)
    elif name in checkpoints.VARIANTS:
        checkpoints.build(name, folder, seed)
    else:
        raise ValueError(f"an architecture must be one of {', '.join(ARCHITECTURES)}; got {name!r}")
