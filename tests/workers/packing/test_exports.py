"""What leaves a pack is peft's: first weights, files, and the captions they lead to."""

import json

import pytest
import torch
from peft import PeftModel

from workers import data
from workers.evaluation.evaluator import Evaluator
from workers.models.adapters import AdaptedBase, read_weights
from workers.models.loading import load_base
from workers.packing.pack import Pack
from workers.recipe import Model

CPU = torch.device("cpu")
POINTS = {
    "one": {"adapter.rank": 4, "adapter.dropout": 0.1, "train.learning_rate": 3e-2},
    "two": {"adapter.rank": 20, "adapter.variant": "rslora", "train.seed": 1},
    "head": {"adapter.targets": "text_all_head", "train.batch_size": 3},
}


@pytest.fixture(scope="module", params=["none", "int8"])
def base(checkpoints, request):
    """With int8 the rows of a batch change each other's captions, though not in training."""
    return load_base(Model(base=str(checkpoints("git"))), request.param, CPU)


@pytest.fixture
def recipes(checkpoints, make_recipe):
    return {name: make_recipe(checkpoints("git"), **point) for name, point in POINTS.items()}


@pytest.fixture
def evaluator(recipes):
    """Return a function: base -> evaluator of it on the validation images."""
    recipe = recipes["one"]
    samples = data.load(recipe.data).splits["validation"]
    return lambda base: Evaluator(base, samples, None, recipe.evaluate)


@pytest.fixture
def trained(base, recipes, examples_of):
    """All recipes trained for one epoch pack."""
    pack = Pack(base)
    for name, recipe in recipes.items():
        pack.admit(name, recipe)
        pack.begin(name, examples_of(base, recipe))
    while pack.busy:
        assert all(done.error is None for done in pack.step())
    return pack


@pytest.mark.parametrize("beams", [1, 3])
def test_exported_adapters_write_the_pack_s_captions_in_plain_peft(
    trained, recipes, evaluator, base, tmp_path, beams
):
    names = list(recipes)
    written = trained.predict(names, evaluator(base), beams)
    (untrained,) = evaluator(base).predict(base.model, beams)
    losses = trained.losses(names, evaluator(base))
    for name, own, loss in zip(names, written, losses, strict=True):
        trained._slots[name].export(tmp_path / name)
        fresh = load_base(recipes[name].model, base.quantization, CPU)
        model = PeftModel.from_pretrained(fresh.model, tmp_path / name)
        (captions,) = evaluator(fresh).predict(model, beams)
        assert captions == own.predictions
        assert captions != untrained
        assert evaluator(fresh).loss(model) == pytest.approx(loss, abs=1e-4)
        loaded = {
            key.replace(".default", ""): value
            for key, value in model.state_dict().items()
            if ".lora_" in key
        }
        saved = read_weights(tmp_path / name)
        assert loaded.keys() == saved.keys()
        assert all(torch.equal(loaded[key], saved[key]) for key in saved)
        slot = trained._slots[name]
        for path, (a, b) in slot.arena.matrices("values", name).items():
            assert torch.equal(saved[f"base_model.model.{path}.lora_A.weight"], a)
            assert torch.equal(saved[f"base_model.model.{path}.lora_B.weight"], b)


@pytest.mark.parametrize("beams", [1, 3])
def test_saved_adapters_write_in_the_slots_stead(
    trained, recipes, evaluator, base, tmp_path, beams
):
    """Whatever the slots themselves have become, and they keep that."""
    own = trained.predict(["one", "two"], evaluator(base), beams)
    for name in ("one", "two"):
        trained._slots[name].export(tmp_path / name)
        trained._slots[name].arena.row("values", name).mul_(-3.0)
    before = trained._slots["one"].arena.row("values", "one").clone()
    folders = {name: tmp_path / name for name in ("one", "two")}
    found = trained.predict_saved(folders, evaluator(base), beams)
    assert found == [written.predictions for written in own]
    assert torch.equal(trained._slots["one"].arena.row("values", "one"), before)


@pytest.mark.parametrize("init", ["default", "gaussian", "orthogonal", "mica"])
@pytest.mark.parametrize("name", list(POINTS))
@pytest.mark.parametrize("base", ["none"], indirect=True)
def test_new_slots_have_the_files_and_first_weights_that_peft_gives(
    base, recipes, tmp_path, name, init
):
    recipe = recipes[name].with_point({"adapter.init": init})
    pack, adapted = Pack(base), AdaptedBase(base)
    pack.admit(name, recipe).export(tmp_path / "packed")
    adapted.attach(name, recipe.adapter, recipe.train.seed)
    adapted.save(name, tmp_path / "alone", recipe.model.base)
    adapted.detach(name)
    packed, alone = (
        json.loads((tmp_path / folder / "adapter_config.json").read_text())
        for folder in ("packed", "alone")
    )
    assert packed == alone
    packed, alone = (read_weights(tmp_path / folder) for folder in ("packed", "alone"))
    assert packed.keys() == alone.keys()
    assert all(torch.equal(packed[key], alone[key]) for key in alone)
    assert any(bool(value.any()) for value in alone.values())


def test_the_base_is_as_it_was_between_two_steps(base, recipes, examples_of):
    layers = {path: id(module) for path, module in base.model.named_modules()}
    pack = Pack(base)
    pack.admit("one", recipes["one"])
    pack.begin("one", examples_of(base, recipes["one"]))
    pack.step()
    assert {path: id(module) for path, module in base.model.named_modules()} == layers
    assert not any(parameter.requires_grad for parameter in base.model.parameters())
