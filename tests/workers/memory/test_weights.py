"""Bytes of weights against those of the loaded model."""

import pytest

from workers.memory.weights import base_bytes, largest_matrix, trained_weights, vocabulary
from workers.recipe import Model
from workers.tiny.checkpoints import VARIANTS

STORED = {("none", "float32"): 0.0, ("none", "bfloat16"): 0.0, ("nf4", "bfloat16"): 0.02}
"""(Quantization, precision) -> tolerance: blocks of 64 weights do not always come out even."""


@pytest.mark.parametrize(
    ("variant", "quantization", "dtype", "tolerance"),
    [
        *((variant, *stored, STORED[stored]) for variant in VARIANTS for stored in STORED),
        ("git", "int8", "bfloat16", 0.05),  # whose layers are chosen as those of nf4 are
    ],
)
def test_a_base_takes_what_the_loaded_one_takes(
    variant, quantization, dtype, tolerance, architecture, recipe_of, loaded
):
    recipe = recipe_of(variant, quantization=quantization, model__dtype=dtype)
    model = loaded(recipe).base.model
    there = sum(p.nbytes for name, p in model.named_parameters() if "lora_" not in name)
    estimated = base_bytes(architecture(variant).files, recipe.model, quantization, gpu=False)
    assert estimated == pytest.approx(there, rel=tolerance)


def test_a_gpu_halves_what_auto_takes(architecture):
    files, model = architecture("git").files, Model(base="git")
    on_gpu, on_cpu = (base_bytes(files, model, "none", gpu=gpu) for gpu in (True, False))
    assert (on_gpu * 2, on_cpu) == (on_cpu, 4 * files.weights)


@pytest.mark.parametrize(
    "point",
    [
        {"adapter__rank": 8},
        {"adapter__targets": "all", "adapter__variant": "rslora"},
        {"adapter__variant": "dora"},
        {"adapter__bias": "all"},
        {"adapter__bias": "lora_only"},
        {"adapter__trained_modules": ("git.embeddings.word_embeddings",)},
    ],
)
def test_trained_weights_are_exactly_those_of_the_adapter(point, architecture, recipe_of, loaded):
    recipe = recipe_of("git", **point)
    weights = loaded(recipe).parameters("trial")
    assert trained_weights(recipe, architecture("git").files) == sum(w.numel() for w in weights)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_vocabulary_is_that_of_the_config(variant, architecture):
    files = architecture(variant).files
    text = files.config.get("text_config") or files.config
    assert vocabulary(files) == text["vocab_size"]


def test_the_largest_matrix_is_no_embedding(architecture):
    files = architecture("paligemma").files
    assert largest_matrix(files) == 32 * 64 < vocabulary(files) * 32
