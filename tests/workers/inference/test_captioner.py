"""A captioner's batches, and the questions that it takes."""

from dataclasses import replace

import pytest
import torch
from PIL import Image

from workers.families.prompts import PromptBuilder
from workers.inference import caption_requests
from workers.inference.caption_requests import CaptionRequest, RequestError
from workers.inference.captioner import BATCH, Captioner, batches
from workers.models.adapters import AdaptedBase
from workers.models.loading import load_base
from workers.recipe import Adapter, Model


@pytest.fixture(scope="module")
def captioners(untrained_base, checkpoints):
    """Return a function: folder of a base and task -> a captioner of it without an adapter."""

    def make(folder, task):
        base = load_base(Model(base=str(folder)), "none", torch.device("cpu"))
        return Captioner(
            base=base, model=lambda: base.model, prompts=PromptBuilder(task=task), beams=1,
            max_new_tokens=5,
        )  # fmt: skip

    return make


@pytest.fixture
def file(tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
    return tmp_path / "red.png"


def test_batches_hold_equal_keys_and_at_most_so_many():
    items = [5] * (BATCH + 2) + [7, 5]
    assert list(batches(items, lambda item: item)) == [[5] * BATCH, [5] * 3, [7]]
    assert list(batches([], lambda item: item)) == []


def test_captions_keep_their_order_when_lengths_differ(captioners, untrained_base, file):
    captioner = captioners(untrained_base, "captioning")
    usual = captioner.prepare_file(file, None)
    short = type(usual)(image=usual.image, prompt=usual.prompt, max_new_tokens=2)
    written = captioner.write_all([usual, short, usual])
    assert written == [*captioner.write([usual]), *captioner.write([short]), written[0]]
    assert written[0] != written[1]


def test_a_call_has_limits_wherever_it_is_answered(
    captioners, untrained_base, tmp_path, monkeypatch
):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
    captioner = replace(captioners(untrained_base, "captioning"), folder=tmp_path)
    call = [CaptionRequest(path="red.png")] * 2
    assert len(captioner.answer(call)) == 2
    monkeypatch.setattr(caption_requests, "MAX_CALL_PIXELS", 127)
    with pytest.raises(RequestError, match="at most 127 pixels in all, got 128"):
        captioner.answer(call)


def test_a_model_that_captions_takes_no_question(captioners, untrained_base, file):
    with pytest.raises(RequestError, match=r"red.png: the question must be left out"):
        captioners(untrained_base, "captioning").prepare_file(file, "why?")


def test_a_model_for_questions_needs_one_that_fits(captioners, untrained_base, file):
    captioner = captioners(untrained_base, "vqa")
    with pytest.raises(RequestError, match="must be the question about the image"):
        captioner.prepare_file(file, "")
    with pytest.raises(RequestError, match=r"must be shorter: with the image it has \d+ tokens"):
        captioner.prepare_file(file, "red circle " * 500)
    assert captioner.prepare_file(file, "red circle").max_new_tokens == 5


def test_a_question_cannot_stand_for_another_image(captioners, checkpoints, file):
    captioner = captioners(checkpoints("qwen2_5_vl"), "vqa")
    with pytest.raises(RequestError, match="the token that stands for an image"):
        captioner.prepare_file(file, "what is <|image_pad|> here?")


def test_an_adapters_model_is_asked_for_each_time(untrained_base, file):
    adapted = AdaptedBase(load_base(Model(base=str(untrained_base)), "none", torch.device("cpu")))
    captioner = Captioner(
        base=adapted.base, model=lambda: adapted.model.eval(), prompts=PromptBuilder(), beams=1,
        max_new_tokens=6,
    )  # fmt: skip
    prepared = captioner.prepare_file(file, None)
    bare = captioner.write([prepared])
    adapted.attach("trial", Adapter(rank=4), seed=1)
    with torch.no_grad():
        for parameter in adapted.parameters("trial"):
            parameter.normal_(std=0.5, generator=torch.Generator().manual_seed(3))
    assert captioner.write([prepared]) != bare
