"""Predictions by an exported adapter against those of the host that trained it."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from workers import data
from workers.families.prompts import PromptBuilder
from workers.host.host import Host
from workers.inference.predict import Adapted, predict
from workers.recipe import PromptText, Recipe


@pytest.fixture(scope="module")
def recipe(untrained_base):
    return Recipe.model_validate(
        {
            "model": {"base": str(untrained_base)},
            "data": {"source": "shapes", "limit": 24, "split": {"train": 0.5, "validation": 0.25,
                                                                 "test": 0.25}},
            "train": {"epochs": 2, "batch_size": 4, "learning_rate": 2e-2},
            "adapter": {"rank": 4, "alpha": 8.0},
            "evaluate": {"metrics": ["exact_match"], "max_new_tokens": 6, "final_beams": 2},
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(recipe, tmp_path_factory):
    """The folder of a trained adapter, and its host's captions of the validation images."""
    folder = tmp_path_factory.mktemp("adapter") / "best"
    host = Host(device="cpu", threads=1)
    host.admit("trial", recipe)
    host.advance("trial")
    host.export("trial", folder)
    predictions = host.score("trial", folder).predictions
    host.close()
    return folder, predictions


@pytest.fixture(scope="module")
def adapted(recipe, trained):
    return Adapted.load(recipe.model, recipe.quantization, trained[0], device="cpu")


@pytest.fixture(scope="module")
def samples(recipe):
    return data.load(recipe.data).splits["validation"]


def captions(adapted, samples, recipe, **fields):
    evaluate = recipe.evaluate.model_copy(update=fields)
    return [p.caption for p in predict(adapted, samples, PromptBuilder(), evaluate)]


def test_equals_the_host_that_trained_the_adapter(adapted, trained, samples, recipe):
    assert tuple(predict(adapted, samples, PromptBuilder(), recipe.evaluate)) == trained[1]
    with adapted.model.disable_adapter():
        assert captions(adapted, samples, recipe) != [p.caption for p in trained[1]]


@pytest.mark.parametrize("size", [1, 4, 100])
def test_batches_change_nothing(adapted, trained, samples, recipe, size):
    expected = [prediction.caption for prediction in trained[1]]
    assert captions(adapted, samples, recipe, batch_size=size) == expected


def test_yields_as_it_goes(adapted, samples, recipe):
    opened = []

    def noted(sample):
        return replace(sample, open=lambda: opened.append(sample.id) or sample.open())

    evaluate = recipe.evaluate.model_copy(update={"batch_size": 2})
    predictions = predict(adapted, list(map(noted, samples)), PromptBuilder(), evaluate)
    assert opened == []
    next(predictions)
    assert opened == [sample.id for sample in samples[:2]]
    list(predictions)
    assert opened == [sample.id for sample in samples]


def test_length_is_limited(adapted, samples, recipe):
    tokenizer = adapted.base.processor.tokenizer
    texts = captions(adapted, samples, recipe, max_new_tokens=2)
    assert all(len(tokenizer.tokenize(text)) <= 2 for text in texts)


def test_a_sample_without_the_question_it_needs_is_named_before_anything_is_opened(
    adapted, samples, recipe
):
    prompts = PromptBuilder(task="vqa", prompt=PromptText(text="{question}"))
    with pytest.raises(ValueError, match=rf"{samples[0].id} has no question"):
        predict(adapted, samples, prompts, recipe.evaluate)


def test_an_adapter_of_another_base_is_refused_in_one_line(recipe, trained, tmp_path):
    (tmp_path / "adapter_config.json").write_bytes(
        (trained[0] / "adapter_config.json").read_bytes()
    )
    weights = load_file(trained[0] / "adapter_model.safetensors")
    wider = {name: torch.zeros(*tensor.shape[:-1], 7) for name, tensor in weights.items()}
    save_file(wider, tmp_path / "adapter_model.safetensors")
    with pytest.raises(ValueError, match=r"does not fit model\.base .*size mismatch") as refused:
        Adapted.load(recipe.model, "none", tmp_path, device="cpu")
    assert "\n" not in str(refused.value)
