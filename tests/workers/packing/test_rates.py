"""Learning rates of B and of parts of the model, and scaled losses: alone, in a pack, by peft."""

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForImageTextToText

from workers.evaluation.evaluator import Evaluator
from workers.metrics.scorer import Scorer
from workers.models.adapters import AdaptedBase
from workers.models.loading import load_base
from workers.models.parts import part_of
from workers.packing import loss_scales
from workers.packing.pack import Pack
from workers.recipe import Model
from workers.slots.sequential import SequentialTrainer
from workers.training.loop import NonFiniteLossError, token_loss
from workers.training.optimizer import AdapterOptimizer, scales_loss

CPU = torch.device("cpu")
TRAINERS = {"pack": Pack, "alone": SequentialTrainer}
LORA_PLUS = {"train.lora_plus_ratio": 8.0, "train.batch_size": 2}
PARTS = {"train.vision_learning_rate": 1e-4, "train.projector_learning_rate": 2e-2,
         "adapter.targets": "all", "adapter.rank": 3}  # fmt: skip
MICA = {"adapter.init": "mica", "train.weight_decay": 0.1, "train.max_grad_norm": 0.1}
TRIALS = {"plain": {}, "lora+": LORA_PLUS, "parts": PARTS, "both": PARTS | LORA_PLUS, "mica": MICA}


def by_the_book(recipe):
    """Return the groups of a peft model's weights, with what each path says of its rate."""
    train = recipe.train

    def groups(model):
        made = []
        for path, weight in model.named_parameters():
            if weight.requires_grad:
                part = {"git.image_encoder": train.vision_learning_rate,
                        "git.visual_projection": train.projector_learning_rate}  # fmt: skip
                own = next((rate for start, rate in part.items() if start in path), None)
                factor = (own or train.learning_rate) / train.learning_rate
                factor *= train.lora_plus_ratio if "lora_B" in path else 1.0
                made.append({"params": [weight], "factor": factor})
        return made

    return groups


@pytest.fixture(scope="module")
def load(checkpoints):
    """Return a function: type of a GIT -> it."""
    return lambda dtype: load_base(Model(base=str(checkpoints("git")), dtype=dtype), "none", CPU)


@pytest.fixture
def recipes(checkpoints, make_recipe):
    return {name: make_recipe(checkpoints("git"), **own) for name, own in TRIALS.items()}


@pytest.mark.parametrize("trainer", TRAINERS)
def test_trials_of_all_rates_train_as_plain_peft_does(
    load, recipes, examples_of, train_pack, train_plain, trainer
):
    base = load("float32")
    losses = train_pack(TRAINERS[trainer](base), recipes, examples_of(base, recipes["plain"]))
    for name, recipe in recipes.items():
        expected, _ = train_plain(recipe, groups=by_the_book(recipe))
        assert losses[name] == pytest.approx(expected, abs=1e-4), name
    assert losses["plain"] != pytest.approx(losses["lora+"], abs=1e-2)


def test_in_float16_a_pack_trains_as_each_does_alone(load, recipes, examples_of, train_pack):
    base = load("float16")
    examples = examples_of(base, recipes["plain"])
    rounded = Pack(base, compute_dtype="float16")  # as on a GPU
    packed, alone, exact, on_gpu = (
        train_pack(made, recipes, examples)
        for made in (Pack(base), SequentialTrainer(base), Pack(load("float32")), rounded)
    )
    for name, losses in packed.items():
        assert losses == pytest.approx(alone[name], abs=5e-4), name
        assert losses == pytest.approx(exact[name], abs=5e-3), name
        assert losses == pytest.approx(on_gpu[name], abs=3e-2), name


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(("first", "then"), [TRAINERS, [*TRAINERS][::-1]])
def test_a_trial_resumes_in_a_pack_or_alone(
    load, recipes, examples_of, train_pack, tmp_path, dtype, first, then
):
    base, recipe = load(dtype), recipes["both"]
    examples = examples_of(base, recipe)
    straight = train_pack(TRAINERS[first](base), {"one": recipe}, examples)["one"]
    stopped, resumed = TRAINERS[first](base), TRAINERS[then](base)
    slot = stopped.admit("one", recipe)
    stopped.begin("one", examples)
    while not slot.rung:
        stopped.step()
    slot.snapshot(tmp_path)
    stopped.evict("one")
    resumed.admit("one", recipe).restore(tmp_path)
    resumed.begin("one", examples)
    ended = []
    while not ended:
        ended = resumed.step()
    assert ended[0].loss == pytest.approx(straight[1], abs=1e-4 if dtype == "float32" else 1e-3)


@pytest.mark.parametrize("field", ["vision_learning_rate", "projector_learning_rate"])
@pytest.mark.parametrize("trainer", TRAINERS.values(), ids=TRAINERS)
def test_the_rate_of_a_part_without_adapters_is_refused(load, recipes, trainer, field):
    recipe = recipes["plain"].with_point({f"train.{field}": 1e-3})
    with pytest.raises(ValueError, match=rf"train\.{field} must be null .* belong to: language"):
        trainer(load("float32")).admit("one", recipe)


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("git.image_encoder.vision_model.encoder.layers.0.self_attn.q_proj", "vision"),
        ("git.visual_projection.visual_projection.0", "projector"),
        ("git.encoder.layer.0.attention.self.query", "language"),
        ("qformer.encoder.layer.0.attention.attention.query", "projector"),
        ("language_projection", "projector"),
        ("model.visual.blocks.0.attn.qkv", "vision"),
        ("model.visual.deepstack_merger_list.0.linear_fc1", "projector"),
        ("model.language_model.layers.0.self_attn.q_proj", "language"),
        ("model.vision_tower.encoder.layer.0.attention.projection_layer", "vision"),
        ("model.connector.modality_projection.proj", "projector"),
        ("model.multi_modal_projector.linear_1", "projector"),
        ("model.text_model.layers.1.mlp.up_proj", "language"),
        ("model.language_model.layers.0.per_layer_projection", "language"),
        ("model.layerwise_projectors.0.linear_1", "projector"),
        ("lm_head", "language"),
    ],
)
def test_a_layer_belongs_to_the_part_that_its_path_names(path, part):
    assert part_of(path) == part


def gradient(base, recipe, examples, *, factor=1.0, scaled=False):
    """Return that of a loss times `factor`, divided by it, of an adapter alone."""
    adapted = AdaptedBase(base)
    adapted.attach("one", recipe.adapter, seed=0)
    weights = adapted.named_parameters("one")
    optimizer = AdapterOptimizer(weights, recipe.train, scaled=scaled)
    scale = optimizer.scaled(torch.ones(())).item()
    loss = token_loss(base, adapted.model.train(), examples.batch(base, [0, 1]))
    optimizer.scaled(loss * factor).backward()
    found = torch.cat([weight.grad.flatten() for weight in weights.values()])
    adapted.detach("one")
    return found / (factor * scale)


def test_a_scale_keeps_small_gradients_from_underflowing(load, recipes, examples_of):
    """A loss 2^14 times as small has the gradients that a larger model has."""
    base, exact, recipe = load("float16"), load("float32"), recipes["plain"]
    examples = examples_of(exact, recipe)
    expected = gradient(exact, recipe, examples)
    apart = [
        float((found - expected).norm() / expected.norm())
        for found in (
            gradient(base, recipe, examples, factor=2.0**-14, scaled=scaled)
            for scaled in (scales_loss(base), False)
        )
    ]
    assert apart[0] < 0.005
    assert apart[1] > 0.2


def overflowing(pack, name, scale):
    """Let the loss of a slot be multiplied by so much."""
    pack._slots[name].loss_scale[0] = scale


def weights_after(base, recipes, examples, scales, epochs):
    """Train some trials from these loss scales; return weights and errors by name."""
    pack, errors = Pack(base), {}
    for name, recipe in recipes.items():
        pack.admit(name, recipe)
        overflowing(pack, name, scales.get(name, 2.0**16))
        pack.begin(name, examples)
    while pack.busy:
        for trained in pack.step():
            errors[trained.slot.name] = trained.error
            if trained.error is None and trained.slot.rung < epochs:
                pack.begin(trained.slot.name, examples)
    return {name: [w.clone() for w in pack._slots[name].weights()] for name in recipes}, errors


def test_the_overflow_of_one_slot_is_that_slot_s_alone(load, recipes, examples_of, monkeypatch):
    base, own = load("float16"), {name: recipes[name] for name in ("plain", "lora+")}
    examples = examples_of(base, recipes["plain"])
    calm, _ = weights_after(base, own, examples, {}, 2)
    other, errors = weights_after(base, own, examples, {"lora+": 2.0**37}, 2)
    assert errors == {"plain": None, "lora+": None}
    assert all(torch.equal(a, b) for a, b in zip(calm["plain"], other["plain"], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(calm["lora+"], other["lora+"], strict=True))
    assert all(bool(weight.isfinite().all()) for weight in other["lora+"])
    monkeypatch.setattr(loss_scales, "BACKOFF", 2.0**-60)
    other, errors = weights_after(base, own, examples, {"lora+": 2.0**100}, 2)
    assert errors["plain"] is None
    assert all(torch.equal(a, b) for a, b in zip(calm["plain"], other["plain"], strict=True))
    assert isinstance(errors["lora+"], NonFiniteLossError)
    assert "gradients of epoch 1 overflow float16" in str(errors["lora+"])


def test_an_adapter_of_float16_loads_in_plain_peft(
    load, recipes, examples_of, train_pack, tmp_path
):
    base, recipe = load("float16"), recipes["both"]
    pack, examples = Pack(base), examples_of(base, recipe)
    train_pack(pack, {"one": recipe}, examples)
    pack._slots["one"].export(tmp_path)
    plain = AutoModelForImageTextToText.from_pretrained(recipe.model.base, dtype=torch.float16)
    adapted = PeftModel.from_pretrained(plain, str(tmp_path)).eval()
    references = {sample.id: sample.captions for sample in examples.samples}
    evaluator = Evaluator(
        base, examples.samples, Scorer(["exact_match"], references), recipe.evaluate
    )
    (own,) = pack.losses(["one"], evaluator)
    assert evaluator.loss(adapted) == pytest.approx(own, abs=2e-3)
    assert evaluator.loss(base.model) > own + 0.1


@pytest.mark.parametrize("own", [{"bias": "all"}, {"trained_modules": ["git.visual_projection"]}])
def test_weights_of_the_base_s_own_type_are_not_trained_in_float16(load, recipes, own):
    (field,) = own
    recipe = recipes["plain"].with_point({f"adapter.{field}": own[field]})
    with pytest.raises(ValueError, match=rf"adapter\.{field} must be left out on a float16 base"):
        SequentialTrainer(load("float16")).admit("one", recipe)
