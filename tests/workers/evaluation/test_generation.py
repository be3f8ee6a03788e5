"""Batches of captions: their order, their prompts, and one that memory has no room for."""

from dataclasses import replace

import pytest
import torch

from workers import data
from workers.encoding import collation
from workers.evaluation.evaluator import Evaluator
from workers.evaluation.generation import generate, texts
from workers.families.prompts import PromptBuilder
from workers.features.images import Pixels
from workers.models.loading import load_base
from workers.recipe import Data, Evaluate, Model, PromptText

BUILDER = PromptBuilder(task="vqa", prompt=PromptText(text="{question}"))


@pytest.fixture(scope="module")
def base(request, checkpoints):
    folder = checkpoints(getattr(request, "param", "git"))
    return load_base(Model(base=str(folder)), "none", torch.device("cpu"))


@pytest.fixture(scope="module")
def endless(endless_git):
    return load_base(Model(base=str(endless_git)), "none", torch.device("cpu"))


@pytest.fixture(scope="module")
def samples():
    """Seven images; from one to the next their questions are as long, or of another length."""
    own = data.load(Data(source="shapes", limit=14)).splits["train"][:7]
    lengths = (3, 9, 1, 3, 9, 1, 3)
    return [
        replace(sample, question=" ".join(["why"] * length))
        for sample, length in zip(own, lengths, strict=True)
    ]


class Watched:
    """A model that notes the batches of `generate`, and runs out of memory with too many rows."""

    def __init__(self, model, most=100):
        self.eval, self._model, self._most = model.eval, model, most
        self.masks = []

    def generate(self, **inputs):
        if len(inputs["input_ids"]) > self._most:
            torch.empty(2**55)
        self.masks.append(inputs["attention_mask"])
        return self._model.generate(**inputs)


@pytest.fixture
def write(base, samples):
    """Return a function: model, arguments of `texts` -> the texts."""
    prompts = [BUILDER.build(base.family, sample.question, sample.id) for sample in samples]

    def run(model, **options):
        given = {"beams": 1, "batch_size": 100, "max_new_tokens": 4, **options}
        return list(texts(base, model, Pixels(base, samples), prompts, **given))

    return run


@pytest.mark.parametrize("most", [4, 2, 1])
def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_lost(base, write, most):
    model, seconds = Watched(base.model, 2 * most), []
    assert write(model, copies=2, seconds=seconds) == write(base.model, copies=2)
    assert [len(mask) // 2 for mask in model.masks] == list(map(len, seconds))
    assert sum(map(len, seconds)) == 7
    assert max(map(len, seconds)) == most


def test_what_does_not_fit_alone_is_an_error(base, write):
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        write(Watched(base.model, 1), copies=2)


def test_batches_take_another_order_and_texts_come_in_their_own(base, write):
    model, order = Watched(base.model), [1, 4, 0, 3, 6, 2, 5]
    assert write(model, batch_size=2, order=order) == write(base.model)
    assert [mask.shape[0] for mask in model.masks] == [2, 2, 2, 1]
    padded = [not bool(mask.all()) for mask in model.masks]
    assert padded == [False, False, True, False]


@pytest.mark.parametrize("beams", [1, 2])
def test_a_text_ends_at_the_models_last_position_whatever_is_beside_it(endless, samples, beams):
    """32 positions; questions of 3, 9 and 1 words take 10, 28 and 4 of them."""
    prompts = [BUILDER.build(endless.family, one.question, one.id) for one in samples]
    assert collation.prompt_lengths(endless, [], prompts[:0]) == []

    def written(chosen, tokens=40, copies=1):
        images = Pixels(endless, samples).of(chosen)
        asked = [prompts[index] for index in chosen]
        return generate(endless, endless.model.eval(), images, asked, copies=copies,
                        beams=beams, max_new_tokens=tokens)  # fmt: skip

    together = written(range(7))
    assert together == [written([index])[0] for index in range(7)]
    assert written([1]) == written([1], tokens=4)
    assert written([1]) != written([1], tokens=2)
    assert written(range(3), copies=2) == together[:3] * 2


def test_a_prompt_that_leaves_no_room_is_refused_by_name(endless, samples):
    prompts = [BUILDER.build(endless.family, "why " * 11, "one")]
    with pytest.raises(ValueError, match=r"prompt.text must leave room .* 34 tokens, .* 32 pos"):
        list(texts(endless, endless.model, Pixels(endless, samples), prompts,
                   beams=1, batch_size=1, max_new_tokens=4))  # fmt: skip


def test_on_a_gpu_prompts_of_similar_length_share_a_batch(base, samples):
    pretend = pytest.importorskip("benchmarks.pretend_gpu")
    model, evaluate = Watched(base.model), Evaluate(max_new_tokens=4)

    def captions(base):
        evaluator = Evaluator(base, samples, None, evaluate, BUILDER)
        (written,) = evaluator.predict(model, 1, at_once=3)
        return [prediction.caption for prediction in written]

    expected = captions(base)
    assert [mask.shape[1] for mask in model.masks] == [28, 28, 10]
    model.masks.clear()
    with pretend.PretendGpu() as gpu:
        base.model.to(gpu.device)
        assert captions(replace(base, device=gpu.device)) == expected
    assert [mask.shape[1] for mask in model.masks] == [28, 10, 4]


@pytest.mark.parametrize("base", ["git", "blip2-opt", "qwen2_5_vl", "paligemma"], indirect=True)
def test_a_gpu_is_not_waited_for_after_each_token(base, samples):
    pretend = pytest.importorskip("benchmarks.pretend_gpu")
    waits = []
    with pretend.PretendGpu() as gpu:
        base.model.to(gpu.device)
        on_gpu = replace(base, device=gpu.device)
        for tokens in (2, 6):
            evaluate = Evaluate(max_new_tokens=tokens)
            gpu.forget()
            Evaluator(on_gpu, samples[:2], None, evaluate, BUILDER).predict(base.model, 1)
            waits.append(gpu.waits.total())
    assert waits[0] == waits[1]
