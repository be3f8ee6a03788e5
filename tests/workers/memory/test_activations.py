"""Estimated activations against what autograd really keeps."""

import weakref
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from workers.data.sample import Sample
from workers.memory import activations
from workers.memory.footprint import LOGIT_BYTES, SMOOTHED_BYTES
from workers.memory.shared_terms import SharedTerms
from workers.memory.weights import element_bytes, vocabulary
from workers.packing.pack import Pack
from workers.tiny.checkpoints import VARIANTS
from workers.training.loop import Examples, token_loss

ROWS = 2
IMAGE = Image.new("RGB", (32, 32), "red")
CAPTION = "a red circle on a green square and a blue one"
LOWEST, HIGHEST = 1.0, 1.75
"""Estimated by measured bytes. Models of one or two tiny blocks lie highest: the first block keeps
less, as nothing before it is trained."""


@contextmanager
def keeping(*fixed):
    """Give storage -> (bytes, last dimension) of all that autograd keeps but `fixed`, so far."""
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
        yield found


def kept(model, batch):
    """Return what a forward of a model keeps, see `keeping`."""
    with keeping(*model.parameters(), *model.buffers(), *batch.values()) as found:
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
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_pack_keeps_inputs_as_they_came_and_once(
    variant, dtype, architecture, recipe_of, loaded, batch_of
):
    small = recipe_of(
        variant, adapter__dropout=0.0, adapter__rank=4, train__batch_size=1, model__dtype=dtype
    )
    recipes = {"small": small, "wide": small.with_point({"adapter.rank": 16})}
    adapted = loaded(small)
    base, files = adapted.base, architecture(variant).files
    _, row = batch_of(adapted, 1)
    sample = Sample(id="one", open=lambda: IMAGE, captions=(CAPTION,))
    pack = Pack(base, adapted.bare)
    slots = [pack.admit(name, recipe) for name, recipe in recipes.items()]
    for name in recipes:
        pack.begin(name, Examples.of(base, [sample]))
    fixed = (*base.model.parameters(), *base.model.buffers(), *slots[0].weights())
    with keeping(*fixed) as found:
        pack.step()
    logits = vocabulary(files)
    measured = sum(size for size, last in found.values() if last != logits)
    how = activations.keeping(files, element_bytes(dtype, gpu=False), gpu=False)
    alone = [SharedTerms.alone(recipe, files) for recipe in recipes.values()]
    terms = SharedTerms.of_pack(alone)
    estimated = 2 * activations.kept_bytes(small, architecture(variant), row, how, terms)
    assert LOWEST < estimated / measured < HIGHEST
    apart = sum(activations.kept_bytes(small, architecture(variant), row, how, t) for t in alone)
    assert dtype == "float32" or estimated < 0.9 * apart


@pytest.mark.parametrize(("smoothing", "estimated"), [(0.0, 14), (0.1, 26)])
def test_logits_take_most_in_backward(smoothing, estimated, recipe_of, loaded, batch_of):
    recipe = recipe_of("git", model__dtype="bfloat16", train__label_smoothing=smoothing)
    adapted = loaded(recipe)
    base, (batch, row) = adapted.base, batch_of(adapted, ROWS)
    logits = ROWS * row.learned * base.model.config.vocab_size
    with LiveLogits(base.model) as live:
        token_loss(base, adapted.model, batch, smoothing).backward()
    assert 0.75 * estimated < live.peak / logits <= estimated
    assert estimated == (SMOOTHED_BYTES if smoothing else LOGIT_BYTES)


class LiveLogits(TorchDispatchMode):
    """Counts the bytes of all tensors whose last dimension is the vocabulary, weights left out."""

    def __init__(self, model):
        super().__init__()
        self.now = self.peak = 0
        self._vocabulary = model.config.vocab_size
        self._seen = {weight.untyped_storage()._cdata for weight in model.parameters()}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in tree_iter(made):
            if isinstance(tensor, torch.Tensor) and tensor.shape[-1:] == (self._vocabulary,):
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage):
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen:
            return
        self._seen.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key, size):
        self._seen.discard(key)
        self.now -= size


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
