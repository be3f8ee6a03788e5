"""Stand-ins: tiny models of a base's own structure, for rehearsals without its weights.

Where the base's config, tokenizer and processor are on this machine, the stand-in is that config
with small widths and one layer of each kind, and with the base's own tokenizer and processor: a
prompt has the very tokens that it has later. Otherwise it is the tiny checkpoint of the family
to which the config or the name belongs.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from workers.files import own_code
from workers.files.atomic import atomic_path
from workers.models import builtin, checkpoint_files
from workers.recipe import Model

SMALL: Mapping[str, Any] = {
    "hidden_size": 32, "d_model": 32, "word_embed_proj_dim": 32, "encoder_hidden_size": 32,
    "out_hidden_size": 32, "projection_dim": 32, "intermediate_size": 64, "d_ff": 64,
    "ffn_dim": 64, "num_attention_heads": 2, "num_heads": 2, "num_key_value_heads": 1,
    "head_dim": 16, "d_kv": 16, "mrope_section": [2, 3, 3], "initializer_range": 0.08,
}  # fmt: skip
"""Field of a config -> its value in a stand-in, wherever the field stands."""
SHALLOW: Mapping[str, Any] = {
    "num_hidden_layers": 1, "num_layers": 1, "num_decoder_layers": 1, "depth": 1,
    "cross_attention_frequency": 1, "fullatt_block_indexes": [0],
}  # fmt: skip
"""The same for fields that set the number of layers."""
LONG: Mapping[str, Any] = {"max_position_embeddings": 2048}
"""For a family's tiny checkpoint, whose few positions would cut prompts that the base can read."""
_DROPPED = ("layer_types", "quantization_config", "dtype", "torch_dtype")
"""Follows from the rest, or is about the weights that are left behind."""

NAMED: Mapping[str, str] = {
    r"(^|[/_.-])git([/_.-]|$)": "git",
    r"blip-?2.*t5": "blip2-t5",
    r"blip-?2.*opt": "blip2-opt",
    r"qwen-?2[._-]?5.*vl": "qwen2_5_vl",
    r"paligemma": "paligemma",
}
"""Pattern in a base's name, in small letters -> variant of `workers.tiny.checkpoints`."""


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """A tiny model in place of a base."""

    base: str
    """What ``model.base`` is in the rehearsal: a folder, or a built-in base."""
    exact: bool
    """Whether tokenizer, processor and positions are those of the base itself."""
    origin: str
    """Its origin, as a phrase for the user."""


def make(base: str, revision: str | None, root: Path, *, deep: bool = False) -> StandIn:
    """Return the stand-in of ``model.base``, built below `root` unless it is there already.

    With `deep` it keeps the base's number of layers, for targets that name some of them.
    Raises ValueError, naming ``model.base``, when its family is unknown.
    """
    if base in builtin.BASES:
        return StandIn(base=base, exact=True, origin=f"{base} is tiny itself")
    source = checkpoint_files.local_folder(base, revision)
    if source is not None and (processor := _processor(source)) is not None:
        # Another config or tokenizer has another stand-in.
        config = (source / "config.json").read_text()
        key = sha256(f"{source.resolve()} {deep} {config}".encode()).hexdigest()[:8]
        name = f"{re.sub('[^A-Za-z0-9._-]+', '-', source.name)[:40]}-{key}"
        changes = SMALL if deep else {**SMALL, **SHALLOW}
        folder = _once(root / name, lambda place: _write(source, changes, processor, place))
        origin = f"{base}, its config shrunk, with its own tokenizer and processor"
        return StandIn(base=str(folder), exact=True, origin=origin)
    variant = variant_of(base, source)

    def build_tiny(place: Path) -> None:
        from workers.tiny import checkpoints

        checkpoints.build(variant, place)
        _write(place, LONG, _processor(place), place)

    folder = _once(root / f"tiny-{variant}", build_tiny)
    missing = "config" if source is None else "tokenizer and processor"
    origin = (
        f"a tiny {variant} with a tokenizer of its own, for the {missing} of {base} is not on "
        f"this machine. Counts of tokens will differ; with the base's own: hf download {base} "
        '--include "*.json" "*.txt" "*.model"'
    )
    return StandIn(base=str(folder), exact=False, origin=origin)


def variant_of(base: str, source: Path | None) -> str:
    """Return the variant of `workers.tiny.checkpoints` that is built like the base.

    `source` is the folder of its config, if there is one; else the name decides. Raises
    ValueError when neither does.
    """
    config = json.loads((source / "config.json").read_text()) if source else {}
    kind = str(config.get("model_type"))
    if kind == "blip-2":
        text = config.get("text_config", {}).get("model_type", "opt")
        return "blip2-t5" if "t5" in text else "blip2-opt"
    by_name = (variant for words, variant in NAMED.items() if re.search(words, base.lower()))
    variant = kind if kind in NAMED.values() else next(by_name, None)
    if variant is None:
        raise ValueError(
            f"model.base: the family of {base!r} is unknown, so it cannot be rehearsed: its "
            "config is not on this machine, and its name is none of "
            f"{', '.join(NAMED.values())}. Fetch its small files first (hf download {base} "
            '--include "*.json" "*.txt" "*.model"), or name its folder in model.base'
        )
    return variant


def _processor(source: Path) -> Any:
    """Return the processor whose files lie in the folder, or None where some are missing."""
    from workers.models.loading import load_processor

    try:
        return load_processor(Model(base=str(source)), str(source))
    except own_code.OwnCodeError:
        raise
    except ValueError:
        return None


def _once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Return `folder`, built beside it and moved into place if it is not there."""
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder) as partial:
        partial.mkdir()
        build(partial)
    return folder


def _write(source: Path, changes: Mapping[str, Any], processor: Any, folder: Path) -> None:
    """Write a model of the changed config of `source`, with random weights, and the processor."""
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText, GenerationConfig

    with own_code.refused(source):
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    values = changed(config.to_dict(), changes)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        shrunk = AutoConfig.for_model(**values)
        model = AutoModelForImageTextToText.from_config(shrunk, trust_remote_code=False)
    if (source / "generation_config.json").is_file():  # it knows the tokens that end a text
        model.generation_config = GenerationConfig.from_pretrained(source)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def changed(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config, as a dictionary, with those of `changes` that it has, at every depth."""
    result = {}
    for key, value in config.items():
        if key in changes and value is not None:
            value = changes[key]
        elif isinstance(value, Mapping):
            value = changed(value, changes)
        if key not in _DROPPED:
            result[key] = value
    return result
