"""Estimated against measured activations, for one model of about 100 million weights per family.

``python -m benchmarks.memory`` builds them with random weights, trains one step of two rows on the
CPU, and adds up what autograd kept. Takes some minutes and 4 GB; prints a table.
"""

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from workers.encoding.collation import IGNORED, training_batch
from workers.families.base import Batch
from workers.families.prompts import PromptBuilder
from workers.memory import activations
from workers.memory.layers import Architecture, RowLengths, image_tokens, vision_tokens
from workers.memory.shared_terms import SharedTerms
from workers.memory.weights import base_bytes, element_bytes, vocabulary
from workers.models import checkpoint_files
from workers.models.adapters import AdaptedBase
from workers.models.loading import load_base
from workers.recipe import Data, Model, Recipe
from workers.tiny import checkpoints

WIDTH, LAYERS, HEADS, SIDE = 640, 8, 10, 224
ROWS = 2
CAPTION = "a red circle on a green square beside a small blue one " * 2

_SIZES = {
    "hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
}  # fmt: skip
_VISION = {**_SIZES, "image_size": SIDE, "patch_size": 16}
_Q_FORMER = {**_SIZES, "encoder_hidden_size": WIDTH, "num_hidden_layers": 2}
LARGER: Mapping[str, Mapping[str, Any]] = {
    "git": {**_SIZES, "max_position_embeddings": 512, "vision_config": _VISION},
    "blip2-opt": {
        "vision_config": _VISION,
        "qformer_config": _Q_FORMER,
        "text_config": {**_SIZES, "ffn_dim": 4 * WIDTH, "word_embed_proj_dim": WIDTH},
    },
    "blip2-t5": {
        "vision_config": _VISION,
        "qformer_config": _Q_FORMER,
        "text_config": {
            "d_model": WIDTH, "d_kv": 64, "d_ff": 4 * WIDTH, "num_heads": HEADS,
            "num_layers": LAYERS, "num_decoder_layers": LAYERS,
        },
    },
    "qwen2_5_vl": {
        "text_config": {
            **_SIZES, "num_key_value_heads": 2, "layer_types": None,
            "max_position_embeddings": 1024,
            "rope_parameters": {
                "rope_type": "default", "mrope_section": [8, 12, 12], "rope_theta": 10_000.0,
            },
        },
        "vision_config": {
            "depth": LAYERS, "hidden_size": WIDTH, "intermediate_size": 4 * WIDTH,
            "num_heads": HEADS, "out_hidden_size": WIDTH,
        },
    },
    "paligemma": {
        "hidden_size": WIDTH, "projection_dim": WIDTH, "vision_config": _VISION,
        "text_config": {
            **_SIZES, "num_key_value_heads": 1, "head_dim": 64, "max_position_embeddings": 1024,
        },
    },
}  # fmt: skip
"""Variant -> what is changed in the config of its tiny checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    recipe: Recipe
    weights: int
    estimated: float
    measured: float
    base: float
    """Estimated by loaded bytes of the base."""


def build(variant: str, folder: Path) -> None:
    """Write a checkpoint of the variant in `LARGER` sizes, with the tiny one's tokenizer."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    checkpoints.build(variant, folder)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False).to_dict()
    for key, value in LARGER[variant].items():
        config[key] = {**config[key], **value} if isinstance(value, dict) else value
    larger = AutoConfig.for_model(**config)
    AutoModelForImageTextToText.from_config(larger, trust_remote_code=False).save_pretrained(folder)
    _resize(folder / "processor_config.json")


def kept_bytes(model: Any, batch: Batch, logits: int) -> int:
    """Return the bytes that autograd keeps of a forward, without weights and logits."""
    fixed = [*model.parameters(), *model.buffers(), *batch.values()]
    known = {tensor.untyped_storage().data_ptr() for tensor in fixed}
    found: dict[int, int] = {}
    alive: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known and not (tensor.dim() and tensor.shape[-1] == logits):
            alive.append(tensor)  # else its address may come again
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(**batch).loss
    assert loss.requires_grad
    return sum(found.values())


def compare(recipe: Recipe) -> Compared:
    """Load the recipe's base, train one forward, and compare."""
    files = checkpoint_files.find(recipe.model.base, None)
    assert files
    base = load_base(recipe.model, recipe.quantization, torch.device("cpu"))
    loaded = sum(weight.nbytes for weight in base.model.parameters())
    adapted = AdaptedBase(base)
    adapted.attach("trial", recipe.adapter, 0)
    batch, row = _batch(adapted, files)
    dtype = recipe.model.dtype
    how = activations.keeping(files, element_bytes(dtype, gpu=False), gpu=False)
    stored = base_bytes(files, recipe.model, recipe.quantization, gpu=False)
    terms = SharedTerms.alone(recipe, files)
    return Compared(
        recipe=recipe,
        weights=files.weights,
        estimated=ROWS * activations.kept_bytes(recipe, Architecture.of(files), row, how, terms),
        measured=kept_bytes(adapted.model.train(), batch, vocabulary(files)),
        base=stored / loaded,
    )


def recipes(base: Path) -> Iterator[Recipe]:
    """Yield what is measured of one checkpoint."""
    recipe = Recipe(model=Model(base=str(base), dtype="bfloat16"), data=Data(source="shapes"))
    for targets in ("text", "text_all", "all"):
        for dropout in (0.0, 0.05):
            yield recipe.with_point({"adapter.targets": targets, "adapter.dropout": dropout})
    yield recipe.with_point({"quantization": "nf4"})
    yield recipe.with_point({"model.dtype": "float32"})


def main(variants: list[str]) -> None:
    print("| variant | weights | base | dtype | targets | dropout | estimated | measured | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for variant in variants or list(LARGER):
        with tempfile.TemporaryDirectory() as folder:
            build(variant, Path(folder))
            for recipe in recipes(Path(folder)):
                print(_line(variant, compare(recipe)), flush=True)


def _line(variant: str, found: Compared) -> str:
    recipe, adapter = found.recipe, found.recipe.adapter
    return (
        f"| {variant} | {found.weights / 1e6:.0f} M | {recipe.quantization} ({found.base:.3f}) | "
        f"{recipe.model.dtype} | {adapter.targets} | {adapter.dropout} | "
        f"{found.estimated / 1e6:.0f} MB | {found.measured / 1e6:.0f} MB | "
        f"{found.estimated / found.measured:.2f} |"
    )


def _batch(
    adapted: AdaptedBase, files: checkpoint_files.CheckpointFiles
) -> tuple[Batch, RowLengths]:
    base = adapted.base
    image = base.family.encode(base, Image.new("RGB", (SIDE, SIDE), "red"))
    prompt = PromptBuilder(task="captioning").build(base.family, None, "image")
    batch = training_batch(base, [image] * ROWS, [prompt] * ROWS, [CAPTION] * ROWS)
    patches = image.get("image_grid_thw")
    vision = vision_tokens(files) if patches is None else int(patches.prod())
    shown = image_tokens(files, vision)
    learned = int((batch["labels"][0] != IGNORED).sum())
    given = batch["input_ids"].shape[1] - (0 if base.encoder_decoder else learned)
    inside = 0 if base.family.image_token(base) is None else shown
    return batch, RowLengths(vision=vision, image=shown, prompt=given - inside, learned=learned)


def _resize(file: Path) -> None:
    """Let the processor make images of `SIDE`."""
    saved = json.loads(file.read_text())
    images = saved["image_processor"]
    if "height" in images["size"]:
        images["size"] = {"height": SIDE, "width": SIDE}
    else:
        images["size"] = {"shortest_edge": 56 * 56, "longest_edge": SIDE * SIDE}
    if "image_seq_length" in images:
        images["image_seq_length"] = (SIDE // _VISION["patch_size"]) ** 2
    file.write_text(json.dumps(saved))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:])
