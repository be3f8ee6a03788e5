"""Adapters of every kind on one base: alone, in turns, exported, and gone without a trace."""

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForImageTextToText

from workers import data
from workers.encoding import collation
from workers.families.prompts import PromptBuilder
from workers.models.adapters import AdaptedBase, lora_config, read_weights
from workers.models.loading import load_base
from workers.recipe import Adapter, Data, Model

CPU = torch.device("cpu")
CAPTIONS = ["crimson disc beside azure box", "a disc"]
PLAIN = {"rank": 4, "alpha": 8.0, "dropout": 0.0}
KINDS = {
    "lora": {},
    "rslora": {"variant": "rslora"},
    "dora": {"variant": "dora"},
    "gaussian": {"init": "gaussian"},
    "orthogonal": {"init": "orthogonal"},
    "mica": {"init": "mica"},
    "biases of layers": {"bias": "lora_only"},
    "all biases": {"bias": "all", "targets": "text"},
    "trained head": {"trained_modules": ("git.visual_projection",), "bias": "all"},
    "trained norm": {"trained_modules": ("git.visual_projection.visual_projection.1",)},
    "own pattern": {"targets": r"re:git\.encoder\.layer\.1\..*\.query|output"},
}


def kind(name):
    return Adapter(**(PLAIN | KINDS[name]))


def loaded(folder, quantization="none"):
    return load_base(Model(base=str(folder)), quantization, CPU)


@pytest.fixture
def adapted(untrained_base):
    return AdaptedBase(loaded(untrained_base))


@pytest.fixture(scope="module")
def batch(untrained_base):
    base = loaded(untrained_base)
    samples = data.load(Data(source="shapes", limit=12)).splits["train"][:2]
    images = [base.family.encode(base, sample.open()) for sample in samples]
    prompts = [PromptBuilder().build(base.family, None, "image")] * 2
    return collation.training_batch(base, images, prompts, CAPTIONS)


def logits(model, batch):
    model.eval()
    with torch.no_grad():
        return model(**batch).logits


class Trial:
    """One adapter with its optimizer."""

    def __init__(self, adapted, name, adapter, seed=1):
        self.adapted, self.name = adapted, name
        adapted.attach(name, adapter, seed)
        self.optimizer = torch.optim.AdamW(adapted.parameters(name), lr=1e-2)

    def step(self, batch):
        self.adapted.activate(self.name)
        self.adapted.model.train()
        loss = self.adapted.model(**batch).loss
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()


@pytest.mark.parametrize("name", KINDS)
def test_it_trains_only_its_own_weights_and_leaves_no_trace(adapted, batch, name):
    before = {key: value.clone() for key, value in adapted.base.model.state_dict().items()}
    bare = logits(adapted.model, batch)
    trial = Trial(adapted, "one", kind(name))
    first = logits(adapted.model, batch)
    assert torch.allclose(first, bare, atol=1e-4)
    # The norms of dora and the products of orthogonal weights are rounded.
    assert torch.equal(first, bare) or name in ("dora", "orthogonal")
    start = adapted.weights("one")
    losses = [trial.step(batch) for _ in range(8)]
    assert losses[-1] < losses[0]
    moved = {key for key, now in adapted.weights("one").items() if not torch.equal(now, start[key])}
    trained = [key for key in start if name != "mica" or "lora_A" in key]
    assert moved <= set(trained)
    assert len(moved) > 0.9 * len(trained)  # the first A's gradient is 0 where B is
    with adapted.bare() as model:
        assert torch.equal(logits(model, batch), bare)
    assert not torch.equal(logits(adapted.model, batch), bare)
    adapted.detach("one")
    after = adapted.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert torch.equal(logits(adapted.model, batch), bare)
    assert not any(parameter.requires_grad for parameter in adapted.model.parameters())


@pytest.mark.parametrize("name", KINDS)
def test_an_export_is_loaded_by_plain_peft(adapted, batch, untrained_base, tmp_path, name):
    trial = Trial(adapted, "one", kind(name))
    for _ in range(3):
        trial.step(batch)
    adapted.save("one", tmp_path, str(untrained_base))
    fresh = AutoModelForImageTextToText.from_pretrained(untrained_base)
    plain = PeftModel.from_pretrained(fresh, tmp_path)
    assert torch.equal(logits(plain, batch), logits(adapted.model, batch))


def test_trials_of_all_kinds_in_turns_equal_trials_alone(adapted, untrained_base, batch):
    names = [name for name in KINDS if name != "trained norm"]  # inside the trained head
    trials = {
        name: Trial(adapted, f"trial-{number}", kind(name), seed=number)
        for number, name in enumerate(names)
    }
    together = {name: [] for name in names}
    for _ in range(3):
        for name, trial in trials.items():
            together[name].append(trial.step(batch))
    base = loaded(untrained_base)
    for number, name in enumerate(names):
        alone = AdaptedBase(base)  # the base that the trial before has left
        trial = Trial(alone, f"trial-{number}", kind(name), seed=number)
        assert [trial.step(batch) for _ in range(3)] == together[name], name
        mine, other = alone.weights(trial.name), adapted.weights(trial.name)
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[key], other[key]) for key in mine)
        alone.detach(trial.name)


def test_others_train_on_when_one_leaves(adapted, untrained_base, batch):
    stays = Trial(adapted, "stays", kind("all biases"))
    goes = Trial(adapted, "goes", kind("trained head"))
    losses = [stays.step(batch)]
    goes.step(batch)
    adapted.detach("goes")
    losses += [stays.step(batch) for _ in range(2)]
    alone = Trial(AdaptedBase(loaded(untrained_base)), "alone", kind("all biases"))
    assert [alone.step(batch) for _ in range(3)] == losses


@pytest.mark.parametrize("name", ["dora", "all biases", "trained head"])
def test_weights_can_be_put_back(adapted, batch, tmp_path, name):
    trial = Trial(adapted, "one", kind(name))
    trial.step(batch)
    adapted.save("one", tmp_path, "base")
    expected = logits(adapted.model, batch)
    trial.step(batch)
    assert not torch.equal(logits(adapted.model, batch), expected)
    adapted.load_weights("one", read_weights(tmp_path))
    assert torch.equal(logits(adapted.model, batch), expected)


def test_an_exported_adapter_of_a_tied_head_says_that_merging_spoils_it(checkpoints, tmp_path):
    """As it is: loaded by plain peft the adapter is the same, merged it is another model."""
    folder = checkpoints("paligemma")
    base = loaded(folder)
    samples = data.load(Data(source="shapes", limit=12)).splits["train"][:2]
    images = [base.family.encode(base, sample.open()) for sample in samples]
    prompts = [PromptBuilder().build(base.family, None, "image")] * 2
    own = collation.training_batch(base, images, prompts, CAPTIONS)
    adapted = AdaptedBase(base)
    trial = Trial(adapted, "one", Adapter(**PLAIN, targets=r"re:lm_head|.*language_model.*q_proj"))
    for _ in range(3):
        trial.step(own)
    expected = logits(adapted.model, own)
    adapted.save("one", tmp_path, str(folder))
    plain = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(folder), tmp_path)
    assert torch.equal(logits(plain, own), expected)
    assert (logits(plain.merge_and_unload(), own) - expected).abs().max() > 1e-2
    card = (tmp_path / "README.md").read_text()
    assert "# Do not merge" in card
    assert "`lm_head`, which share one weight" in card


def test_the_card_of_any_other_adapter_has_no_warning(adapted, tmp_path):
    adapted.attach("one", kind("dora"), seed=0)
    adapted.save("one", tmp_path, "some/base")
    card = (tmp_path / "README.md").read_text()
    assert "# LoRA adapter of some/base" in card
    assert "dora of rank 4, alpha 8, on 12 layers" in card
    assert "merge" not in card


ON_QUANTIZED = [
    ("dora", "nf4"), ("gaussian", "int8"), ("all biases", "int8"), ("all biases", "nf4"),
    ("trained norm", "int8"), ("trained norm", "nf4"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "quantization"), ON_QUANTIZED)
def test_kinds_train_on_quantized_bases(untrained_base, batch, name, quantization):
    adapted = AdaptedBase(loaded(untrained_base, quantization))
    bare = logits(adapted.model, batch)
    trial = Trial(adapted, "one", kind(name))
    losses = [trial.step(batch) for _ in range(8)]
    assert losses[-1] < losses[0]
    adapted.detach("one")
    assert torch.equal(logits(adapted.model, batch), bare)
    assert [Trial(adapted, "again", kind(name)).step(batch)] == losses[:1]


def test_rslora_scales_by_the_root_of_the_rank(adapted):
    adapted.attach("one", kind("rslora"), seed=0)
    layer = adapted.base.model.get_submodule("git.encoder.layer.0.attention.self.query")
    assert layer.scaling["one"] == pytest.approx(8.0 / 4**0.5)


REFUSED = {
    "a misspelled set": (
        {"targets": "text-all"},
        "adapter.targets must be one of text, .*text-all",
    ),
    "a broken pattern": ({"targets": "re:("}, "adapter.targets: '\\(' is no regular expression"),
    "a pattern for nothing": ({"targets": "re:q_proj"}, "adapter.targets .* it matches nothing"),
    "a container": (
        {"targets": r"re:git\.encoder\.layer\.0"},
        "adapter.targets .* it matches 'git.encoder.layer.0'",
    ),
    "no such module": (
        {"trained_modules": ("lm_head",)},
        "adapter.trained_modules must be full paths .* got 'lm_head'",
    ),
    # peft would train every block of the text encoder that is called so
    "the trap of GIT": (
        {"trained_modules": ("output",)},
        "no other path ends with, got 'output', with which 'git.*output' ends",
    ),
    "an adapted module": (
        {"trained_modules": ("git.encoder.layer.0.attention",)},
        "outside of adapter.targets, got 'git.encoder.layer.0.attention'",
    ),
}


@pytest.mark.parametrize(("fields", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_the_base_does_not_have_is_refused(adapted, fields, reason):
    with pytest.raises(ValueError, match=reason):
        lora_config(Adapter(**(PLAIN | fields)), adapted.base)


def test_a_quantized_module_cannot_be_trained(untrained_base):
    base = loaded(untrained_base, "int8")
    adapter = Adapter(**PLAIN, targets="text", trained_modules=("git.visual_projection",))
    assert lora_config(adapter, loaded(untrained_base))
    with pytest.raises(ValueError, match="that are not quantized, got 'git"):
        lora_config(adapter, base)


@pytest.mark.parametrize("fields", [{"targets": "all"}, KINDS["trained norm"]])
def test_a_module_copied_by_one_trial_is_not_changed_in_parts_by_another(adapted, fields):
    adapted.attach("one", kind("trained head"), seed=0)
    with pytest.raises(ValueError, match=r"adapter\.trained_modules: 'git\.visual_projection'"):
        adapted.attach("two", Adapter(**PLAIN, **fields), seed=0)
    assert adapted.names == ("one",)
