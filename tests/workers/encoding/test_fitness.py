"""Samples that a base cannot take are problems of the data, with their names."""

from dataclasses import replace

import pytest
import torch
from PIL import Image

from workers import data
from workers.data.sample import DataError
from workers.encoding.fitness import fitting
from workers.evaluation.scoring import with_words
from workers.families.prompts import PromptBuilder
from workers.metrics.catalog import too_few_images
from workers.models.loading import load_base
from workers.recipe import Data, Model


@pytest.fixture(scope="module")
def base(checkpoints):
    return load_base(Model(base=str(checkpoints("qwen2_5_vl"))), "none", torch.device("cpu"))


@pytest.fixture
def described(tmp_path):
    """Twenty images with questions, of which one is far too long and two spell an image token."""
    rows = ["image,question,caption"]
    for number in range(20):
        size = (3000, 10) if number == 3 else (40 + number, 40)
        Image.new("RGB", size, (number, 0, 0)).save(tmp_path / f"{number}.png")
        question = "what <|image_pad|>?" if number == 5 else "<image> what is it?"
        caption = "a <|image_pad|>" if number == 7 else f"number {number}"
        rows.append(f"{number}.png,{question},{caption}")
    (tmp_path / "all.csv").write_text("\n".join(rows))
    columns = {"question": "question"}
    return Data(source="csv", path=str(tmp_path / "all.csv"), columns=columns)


def test_what_a_base_cannot_take_is_named(base, described):
    with pytest.raises(DataError) as refused:
        fitting(base, data.load(described), described)
    too_long, asked, said = sorted(refused.value.problems)
    assert too_long.startswith("3.png: the image processor of model.base refuses 3000 x 10 pixels")
    assert "its question has the model's image token '<|image_pad|>'" in asked
    assert "its caption has the model's image token" in said


def test_it_is_left_out_when_asked_for(base, described):
    skip = described.model_copy(update={"on_bad_sample": "skip"})
    fit = fitting(base, data.load(skip), skip)
    kept = {sample.id for samples in fit.splits.values() for sample in samples}
    assert kept == {f"{number}.png" for number in range(20)} - {"3.png", "5.png", "7.png"}
    assert len(fit.problems) == 3
    assert fitting(base, fit, skip) is fit


def test_a_placeholder_of_llava_is_no_part_of_a_prompt(base):
    prompt = PromptBuilder(task="vqa").build(base.family, "<image>\nwhat is it?", "image")
    assert prompt.text == "what is it?"


def test_captions_without_a_word_are_problems_where_words_are_scored(described):
    loaded = data.load(described)
    validation = loaded.splits["validation"]
    mute = (replace(validation[0], captions=("🙂",)), *validation[1:])
    loaded = replace(loaded, splits={**loaded.splits, "validation": mute})
    assert with_words(loaded, described, ["exact_match"]) is loaded
    with pytest.raises(DataError, match="no caption with a word, which validation needs") as error:
        with_words(loaded, described, ["exact_match", "cider"])
    assert error.value.problems[0].startswith(validation[0].id)
    skip = described.model_copy(update={"on_bad_sample": "skip"})
    assert with_words(loaded, skip, ["cider"]).splits["validation"] == validation[1:]


def test_cider_of_one_image_is_said_to_be_0():
    assert "cider of 1 image is 0" in too_few_images(["bleu", "cider"], 1)
    assert too_few_images(["bleu", "cider"], 2) is too_few_images(["bleu"], 1) is None
