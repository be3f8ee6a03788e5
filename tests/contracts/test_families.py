"""What every model family promises. A new one joins with its checkpoint and its answer tokens."""

import re

import pytest
import torch
from PIL import Image

from workers import data, families
from workers.contract import CHECKS, NotPossibleError, Subject
from workers.encoding import collation
from workers.evaluation.generation import generate
from workers.families.prompts import Prompt, PromptBuilder
from workers.host.host import Host
from workers.models.adapters import AdaptedBase
from workers.models.loading import load_base
from workers.recipe import Adapter, Data, Model
from workers.tiny.checkpoints import VARIANTS

CPU = torch.device("cpu")
CAPTIONS = ["crimson disc beside azure box", "a disc", "zebra"]
QUESTIONS = ["what is beside the box?", "which?", "is there a disc, and what colour has it?"]
ALL = [*VARIANTS, "generic"]
ENDS = {
    "git": "[SEP]",
    "blip2-opt": "\n",
    "blip2-t5": "</s>",
    "qwen2_5_vl": "<|im_end|>",
    "paligemma": "<eos>",
    "generic": "</s>",
}
"""Variant -> the token that ends its text."""
NOT_POSSIBLE = {
    "several images": dict.fromkeys(
        ("git", "blip2-opt", "blip2-t5", "paligemma"), "no chat template"
    ),
    "resolution": dict.fromkeys(
        ("git", "blip2-opt", "blip2-t5", "paligemma", "generic"), "every image becomes"
    ),
}
"""Check -> variant -> why it cannot be."""


def load(request, variant, quantization="none", dtype="auto"):
    folder = (
        request.getfixturevalue("llava")
        if variant == "generic"
        else request.getfixturevalue("checkpoints")(variant)
    )
    return load_base(Model(base=str(folder), dtype=dtype), quantization, CPU)


@pytest.fixture(scope="module")
def samples():
    return data.load(Data(source="shapes", limit=12)).splits["train"][:3]


@pytest.fixture(scope="module", params=ALL)
def variant(request):
    return request.param


@pytest.fixture(scope="module")
def base(request, variant):
    """A base that no test changes."""
    return load(request, variant)


@pytest.fixture
def images(base, samples):
    return [base.family.encode(base, sample.open()) for sample in samples]


@pytest.fixture
def prompts(base):
    """Prompts of different lengths."""
    builder = PromptBuilder(task="vqa")
    return [builder.build(base.family, question, "image") for question in QUESTIONS]


@pytest.fixture
def batch(base, images, prompts):
    return collation.training_batch(base, images, prompts, CAPTIONS)


def target_tokens(base, variant, caption):
    """The tokens that must be learned, from the tokenizer alone."""
    tokenizer = base.processor.tokenizer
    text = f" {caption}" if variant == "blip2-opt" else caption
    return tokenizer(text + ENDS[variant], add_special_tokens=False)["input_ids"]


def test_every_family_is_tested(request):
    made = {load(request, variant).family for variant in ALL}
    assert {type(family).__module__ for family in made} == {
        *families.MODULES.values(),
        families.GENERIC,
    }


@pytest.fixture(scope="module")
def subject(base):
    """Its checks leave the base as it was."""
    return Subject.of(base.model.name_or_path)


@pytest.mark.parametrize("check", CHECKS)
def test_the_contract_holds(subject, variant, check):
    reason = NOT_POSSIBLE.get(check, {}).get(variant)
    if reason is None:
        assert CHECKS[check](subject)
    else:
        with pytest.raises(NotPossibleError, match=reason):
            CHECKS[check](subject)


def test_labels_are_the_caption_and_its_end(base, variant, batch):
    for row, caption in zip(batch["labels"], CAPTIONS, strict=True):
        assert row[row != -100].tolist() == target_tokens(base, variant, caption)


def test_target_sets_match_leaf_linears_where_they_say(base):
    linears = set(base.linear_layers)
    matched = {
        name: {path for path in base.modules if re.fullmatch(pattern, path)}
        for name, pattern in base.family.TARGETS.items()
    }
    assert {"text", "text_all", "vision", "all"} <= matched.keys()
    sees = {path for path in linears if re.search("image_encoder|vision|visual|qformer", path)}
    for name, paths in matched.items():
        assert paths
        assert paths <= linears  # a container among them would make peft refuse the set
        if name in ("text", "text_all"):
            assert not paths & sees
    assert matched["text"] < matched["text_all"]
    assert matched["vision"] <= sees
    assert matched["all"] >= matched["text_all"] | matched["vision"]
    head = base.model.get_output_embeddings()
    every_other = {path for path in linears if base.model.get_submodule(path) is not head}
    assert matched["text_all"] == {
        path for path in every_other - sees if not re.search("project", path)
    }
    if base.family.VISION_CHAIN:
        assert base.family.VISION_CHAIN.keys() <= set(base.modules)
        assert matched["all"] == every_other


def trained(adapted, images, prompts, captions, steps, evaluate=False):
    """Losses of some steps on one batch; `evaluate` scores between them."""
    base = adapted.base
    made = collation.training_batch(base, images, prompts, captions)
    optimizer = torch.optim.AdamW(adapted.parameters("one"), lr=3e-2)
    losses = []
    for _ in range(steps):
        if evaluate:
            adapted.model.eval()
            generate(base, adapted.model, images, prompts, beams=1, max_new_tokens=2)
        adapted.model.train()
        loss = adapted.model(**made).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    adapted.model.eval()
    return losses


def adapter(targets="text_all"):
    return Adapter(rank=4, alpha=8.0, dropout=0.0, targets=targets)


@pytest.fixture
def adapted(request, variant):
    adapted = AdaptedBase(load(request, variant))
    adapted.attach("one", adapter(), seed=1)
    return adapted


def test_training_lowers_the_loss(adapted, images, prompts):
    losses = trained(adapted, images, prompts, CAPTIONS, steps=30)
    assert losses[-1] < 0.9 * losses[0]
    assert losses[10] < losses[0]


@pytest.mark.parametrize("targets", ["text", "vision", "all"])
def test_every_target_set_trains(request, variant, images, prompts, targets):
    adapted = AdaptedBase(load(request, variant))
    adapted.attach("one", adapter(targets), seed=1)
    before = adapted.weights("one")
    losses = trained(adapted, images, prompts, CAPTIONS, steps=3)
    assert losses[-1] < losses[0]
    after = adapted.weights("one")
    moved = {key for key, value in after.items() if not torch.equal(value, before[key])}
    idle = {key for key in after if "lora_B" in key} - moved
    if variant == "generic":  # LLaVA reads the last layer but one of its image encoder
        idle = {key for key in idle if "vision_tower.encoder.layers.1." not in key}
    assert not idle


def quantized_losses(request, variant, quantization, images, prompts):
    """Losses with and without scoring between the steps."""
    for evaluate in (False, True):
        adapted = AdaptedBase(load(request, variant, quantization))
        adapted.attach("one", adapter(), seed=1)
        yield trained(adapted, images, prompts, CAPTIONS, steps=4, evaluate=evaluate)


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
def test_quantized_bases_train_on_after_scoring(request, variant, quantization, images, prompts):
    """4-bit layers on some CPUs lose their gradients in eval mode unless kept from repacking."""
    never, scored = quantized_losses(request, variant, quantization, images, prompts)
    assert scored == never
    assert never[-1] < never[0]


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["nf4-single", "fp4", "fp4-single"])
def test_other_kinds_train_on_after_scoring(request, variant, quantization, images, prompts):
    never, scored = quantized_losses(request, variant, quantization, images, prompts)
    assert scored == never
    assert never[-1] < never[0]


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_bases_in_bfloat16_train_adapters_in_float32(
    request, variant, images, prompts, quantization
):
    adapted = AdaptedBase(load(request, variant, quantization, dtype="bfloat16"))
    adapted.attach("one", adapter(), seed=1)
    assert adapted.base.model.dtype == torch.bfloat16
    assert {weight.dtype for weight in adapted.weights("one").values()} == {torch.float32}
    losses = trained(adapted, images, prompts, CAPTIONS, steps=4, evaluate=True)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("size", [(1, 1), (300, 10), (10, 300)])
def test_images_of_any_shape_are_read(base, prompts, size):
    picture = Image.new("RGB", size, "red")
    image = base.family.encode(base, picture)
    made = collation.training_batch(base, [image], prompts[:1], CAPTIONS[:1])
    with torch.no_grad():
        assert torch.isfinite(base.model(**made).loss)


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_resume_is_bit_identical(recipe, request, base, tmp_path, checkpointing, packing):
    recipe = recipe.with_point(
        {
            "model.base": base.model.name_or_path,
            "train.epochs": 2,
            "train.activation_checkpointing": checkpointing,
            "data.limit": 12,
        }
    )
    through, fresh = (Host(device="cpu", threads=1, packing=packing) for _ in range(2))
    through.admit("one", recipe)
    through.advance("one")
    through.snapshot("one", tmp_path / "rung-1")
    fresh.restore("again", recipe, tmp_path / "rung-1")
    one, other = through.advance("one").metrics, fresh.advance("again").metrics
    assert {name: other[name] for name in ("train/loss", "val/loss")} == {
        name: one[name] for name in ("train/loss", "val/loss")
    }
    weights, again = (
        host._slot(name).slot.weights() for host, name in ((through, "one"), (fresh, "again"))
    )
    assert all(torch.equal(own, other) for own, other in zip(weights, again, strict=True))


@pytest.mark.parametrize(
    "variant", [variant for variant in ALL if variant != "blip2-t5"], indirect=True
)  # T5 has no last position
def test_a_caption_that_does_not_fit_is_cut_and_ends(base, images, prompts):
    long = " ".join(["disc"] * base.positions)
    rows = [
        collation.training_row(base, *example)
        for example in zip(images[:2], prompts[:2], [long, "a disc"], strict=True)
    ]
    assert [row.truncated for row in rows] == [True, False]
    batch = collation.batch_of(base, images[:2], rows)
    assert batch["input_ids"].shape[1] == base.positions
    end = base.processor.tokenizer.decode(batch["labels"][0, -1:])
    assert end in ENDS.values()
    with torch.no_grad():
        assert torch.isfinite(base.model(**batch).loss)


@pytest.mark.parametrize(
    "variant", [variant for variant in ALL if variant != "blip2-t5"], indirect=True
)  # T5 has no last position
def test_a_prompt_without_room_for_a_caption_is_refused(base, images):
    prompt = Prompt(system=None, text="disc " * base.positions)
    with pytest.raises(ValueError, match=r"prompt\.text must leave room .* positions"):
        collation.training_batch(base, images[:1], [prompt], ["a disc"])
