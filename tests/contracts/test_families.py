"""What every model family promises. A new one joins with its checkpoint and its answer tokens."""

import re
from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from PIL import Image
from transformers import AutoModelForImageTextToText

from workers import data, families
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


def test_labels_are_the_caption_and_its_end(base, variant, batch):
    for row, caption in zip(batch["labels"], CAPTIONS, strict=True):
        assert row[row != -100].tolist() == target_tokens(base, variant, caption)


def test_the_loss_is_the_cross_entropy_of_the_caption_alone(base, variant, batch):
    """Computed here from logits and the tokenizer's tokens, without any label."""
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    if base.encoder_decoder:
        start = base.model.config.text_config.decoder_start_token_id
        shifted = batch["labels"].masked_fill(batch["labels"] == -100, 0).roll(1, dims=1)
        shifted[:, 0] = start
        inputs["decoder_input_ids"] = shifted
    with torch.no_grad():
        logits = base.model(**inputs).logits.log_softmax(-1)
        loss = base.model(**batch).loss.item()
    losses = []
    for row, caption in enumerate(CAPTIONS):
        tokens = target_tokens(base, variant, caption)
        length = int(batch["attention_mask"][row].sum())
        padding = batch["input_ids"].shape[1] - length
        # The last tokens of the row, each predicted one place before itself.
        end = 0 if base.encoder_decoder else logits.shape[1] - padding - len(tokens) - 1
        for place, token in enumerate(tokens):
            losses.append(-logits[row, end + place, token].item())
    assert loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert collation.predicted_tokens(base, batch["labels"]) == len(losses)


def test_a_batch_has_the_loss_of_its_rows(base, images, prompts, batch):
    """Padding changes nothing, and rows weigh as many tokens as they have."""
    total, single = collation.predicted_tokens(base, batch["labels"]), 0.0
    with torch.no_grad():
        loss = base.model(**batch).loss.item() * total
        for image, prompt, caption in zip(images, prompts, CAPTIONS, strict=True):
            row = collation.training_batch(base, [image], [prompt], [caption])
            single += base.model(**row).loss.item() * collation.predicted_tokens(
                base, row["labels"]
            )
    assert loss == pytest.approx(single, rel=1e-5)


def test_what_is_learned_is_what_is_asked(base, images, prompts, batch):
    """Prompts have the same tokens in training and in generation."""
    asked = collation.generation_inputs(base, images, prompts)
    for row in range(len(images)):
        prompt = asked["input_ids"][row][asked["attention_mask"][row] == 1].tolist()
        learned = batch["input_ids"][row][batch["attention_mask"][row] == 1].tolist()
        assert learned[: len(prompt)] == prompt
    first_real = asked["attention_mask"].argmax(dim=1)
    assert first_real.max() > 0  # there is padding
    assert asked["attention_mask"][:, -1].all()  # and it is on the left


def test_the_image_is_not_ignored(base, prompts, images):
    def loss(image):
        made = collation.training_batch(base, [image], prompts[:1], CAPTIONS[:1])
        return base.model(**made).loss.item()

    blank = {k: v * 0 if k == "pixel_values" else v for k, v in images[0].items()}
    with torch.no_grad():
        assert loss(images[0]) != loss(blank)


@pytest.mark.parametrize("beams", [1, 3])
def test_generation_in_a_batch_equals_one_by_one(base, images, prompts, beams):
    def tokens(chosen_images, chosen_prompts):
        inputs = collation.generation_inputs(base, chosen_images, chosen_prompts)
        output = base.model.generate(
            **inputs, num_beams=beams, max_new_tokens=6, min_new_tokens=6, do_sample=False
        )
        return output[:, 0 if base.encoder_decoder else inputs["input_ids"].shape[1] :].tolist()

    batch = tokens(images, prompts)
    assert [len(row) for row in batch] == [6 + base.encoder_decoder] * 3
    assert batch == [
        tokens([image], [prompt])[0] for image, prompt in zip(images, prompts, strict=True)
    ]


def test_captions_come_back_without_prompt_and_special_tokens(base, images, prompts):
    asked = collation.generation_inputs(base, images[:2], prompts[:2])
    tokenizer = base.processor.tokenizer
    end = base.model.generation_config.eos_token_id
    end = end[0] if isinstance(end, list) else end
    written = [
        [*tokenizer(caption, add_special_tokens=False)["input_ids"], end]
        for caption in ("a disc", "a box")
    ]
    prefix = torch.zeros(2, 1, dtype=torch.long) if base.encoder_decoder else asked["input_ids"]
    output = torch.cat([prefix, torch.tensor(written)], dim=1)
    assert collation.decode(base, asked, output) == ["a disc", "a box"]


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


def test_an_exported_adapter_loads_with_plain_peft(
    request, variant, adapted, images, prompts, tmp_path
):
    trained(adapted, images, prompts, CAPTIONS, steps=5)
    base = adapted.base
    adapted.save("one", tmp_path, "base")
    source = load(request, variant).model.name_or_path
    model = AutoModelForImageTextToText.from_pretrained(source)
    base.family.check(replace(base, model=model))  # corrects GIT in transformers before 5.18
    plain = PeftModel.from_pretrained(model, tmp_path).eval()
    batch = collation.training_batch(base, images, prompts, CAPTIONS)
    with torch.no_grad():
        assert torch.equal(plain(**batch).logits, adapted.model(**batch).logits)
    for beams in (1, 3):
        args = {"beams": beams, "max_new_tokens": 6}
        assert generate(base, plain, images, prompts, **args) == generate(
            base, adapted.model, images, prompts, **args
        )


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
