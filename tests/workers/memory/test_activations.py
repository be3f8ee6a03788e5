"""Estimated activations against what autograd really keeps."""

from dataclasses import replace

import pytest
import torch

from workers.memory import activations
from workers.memory.shared_terms import SharedTerms
from workers.memory.weights import element_bytes, vocabulary
from workers.tiny.checkpoints import VARIANTS

ROWS = 2
LOWEST, HIGHEST = 1.0, 1.75
"""Estimated by measured bytes. Models of one or two tiny blocks lie highest: the first block keeps
less, as nothing before it is trained."""


def kept(model, batch):
    """Return storage -> (bytes, last dimension) of all that autograd keeps, weights left out."""
    fixed = [*model.parameters(), *model.buffers(), *batch.values()]
    known = {tensor.untyped_storage().data_ptr() for tensor in fixed}
    found, alive = {}, []

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            alive.append(tensor)  # else its address may come again
            last = tensor.shape[-1] if tensor.dim() else 0
            found[storage.data_ptr()] = (storage.nbytes(), last)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(**batch).loss
    assert loss.requires_grad
    return found


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("targets", ["text", "text_all", "all"])
@pytest.mark.parametrize(("dropout", "dtype"), [(0.0, "float32"), (0.05, "bfloat16")])
def test_activations_are_estimated_from_above(
    variant, targets, dropout, dtype, architecture, recipe_of, loaded, batch_of
):
    recipe = recipe_of(
        variant, adapter__targets=targets, adapter__dropout=dropout, model__dtype=dtype
    )
    base, adapted = architecture(variant), loaded(recipe)
    batch, row = batch_of(adapted, ROWS)
    logits = vocabulary(base.files)
    measured = sum(size for size, last in kept(adapted.model, batch).values() if last != logits)
    how = activations.keeping(base.files, element_bytes(dtype, gpu=False), gpu=False)
    terms = SharedTerms.alone(recipe, base.files)
    estimated = ROWS * activations.kept_bytes(recipe, base, row, how, terms)
    assert LOWEST < estimated / measured < HIGHEST


@pytest.mark.parametrize("variant", VARIANTS)
def test_attention_is_the_one_that_the_loaded_model_has(variant, architecture, recipe_of, loaded):
    config = loaded(recipe_of(variant)).base.model.config.get_text_config()
    how = activations.keeping(architecture(variant).files, 4, gpu=False)
    assert (how.heads > 0) == (config._attn_implementation == "eager")
    assert how.heads in (0, config.num_attention_heads)


def test_vision_costs_nothing_while_nothing_in_it_is_trained(architecture, recipe_of):
    base = architecture("paligemma")
    how = activations.keeping(base.files, 4, gpu=False)
    row = activations.RowLengths(vision=16, image=16, prompt=8, learned=8)
    recipes = [recipe_of("paligemma", adapter__targets=name) for name in ("text_all", "all")]
    frozen, trained = (
        activations.kept_bytes(own, base, row, how, SharedTerms.alone(own, base.files))
        for own in recipes
    )
    (vision,) = (tower for tower in base.towers if tower.kind == "vision")
    place = activations.Place(block=vision.blocks[0], kind="vision", tokens=16, other=0)
    assert trained - frozen > activations.block_bytes(place, how) > 0


def test_checkpointing_keeps_the_input_of_each_block_and_one_block_at_work(architecture, recipe_of):
    base = architecture("git")
    how = activations.keeping(base.files, 4, gpu=False)
    row = activations.RowLengths(vision=17, image=17, prompt=1, learned=9)
    plain = recipe_of("git")
    saving = recipe_of("git", train__activation_checkpointing=True)
    (text,) = (tower for tower in base.towers if tower.kind == "decoder")
    terms = SharedTerms.alone(plain, base.files)
    whole = activations.kept_bytes(plain, base, row, how, terms)
    one = activations.working_bytes(plain, base, row, how, terms)
    inputs = len(text.blocks) * 27 * text.blocks[0].width * 4
    end = whole / activations.ALLOWANCE - len(text.blocks) * one
    expected = activations.ALLOWANCE * (end + inputs)
    assert activations.kept_bytes(saving, base, row, how, terms) == pytest.approx(expected)
    assert activations.working_bytes(saving, base, row, how, terms) == 2 * one


def test_scores_grow_with_the_square_of_the_tokens(architecture):
    base = architecture("git")
    how = activations.keeping(base.files, 4, gpu=False)
    (text,) = (tower for tower in base.towers if tower.kind == "decoder")

    def at(tokens):
        place = activations.Place(block=text.blocks[0], kind="decoder", tokens=tokens, other=0)
        return activations.block_bytes(place, how)

    assert at(200) - 2 * at(100) == 4 * how.heads * (200**2 - 2 * 100**2)


@pytest.mark.parametrize("variant", VARIANTS)
def test_dropout_in_a_config_takes_nothing_for_the_base_is_loaded_without(variant, architecture):
    """As in the configs on the hub, where a missing field may stand for 0.1."""
    files = architecture(variant).files
    fields = ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "dropout_rate")
    text = {**(files.config.get("text_config") or files.config), **dict.fromkeys(fields, 0.1)}
    nested = "text_config" in files.config
    dropping = replace(files, config={**files.config, "text_config": text} if nested else text)
    assert activations.keeping(dropping, 4, gpu=False) == activations.keeping(files, 4, gpu=False)
