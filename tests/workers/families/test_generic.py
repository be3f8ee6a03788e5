"""Architectures whose prompts come from their chat template, against their own processors."""

import pytest
import torch
from PIL import Image

from workers import families
from workers.encoding import collation
from workers.families.base import IMAGE_TEXT
from workers.families.generic import TRIED as SAID_TO_BE_TRIED
from workers.families.prompts import Prompt
from workers.models.loading import load_base
from workers.recipe import Model
from workers.tiny.architectures import ARCHITECTURES

CPU = torch.device("cpu")
SIZES = [(60, 90), (90, 60), (64, 64), (2000, 40)]
"""Portrait, landscape, square, and a line, in pixels."""
PROMPTS = [
    Prompt(system=None, text=text)
    for text in ("What is it?", "Describe the picture, please.", "?", "Is there a disc?")
]
CAPTIONS = ["a disc", "crimson disc beside azure box", "zebra", "x"]
TRIED = [
    *("qwen2_5_vl", "qwen3_vl", "qwen3_5_moe", "smolvlm", "idefics2", "internvl", "llava"),
    *("llava_next", "llava_onevision", "gemma3", "gemma4", "mistral3", "mllama", "glm4v"),
    *("aya_vision", "minicpmv4_6"),
]
"""One of each kind: flat patches, tiles that are joined or padded, pixels that are padded, patches
side by side, cross-attention, types of tokens, thoughts before the answer, experts."""
pytestmark = pytest.mark.filterwarnings("ignore:model.base is of type")


@pytest.fixture(scope="module", params=TRIED)
def base(request, checkpoints):
    return load_base(Model(base=str(checkpoints(request.param))), "none", CPU)


@pytest.fixture
def llava_base(llava):
    return load_base(Model(base=str(llava)), "none", CPU)


@pytest.fixture(scope="module")
def pictures():
    return [Image.effect_noise(size, 64).convert("RGB") for size in SIZES]


@pytest.fixture
def images(base, pictures):
    return [base.family.encode(base, picture) for picture in pictures]


def test_a_batch_is_that_of_the_models_own_processor(base, pictures, images):
    """Every tensor, of images of unlike shapes; tokens up to their padding."""
    texts = [base.family.rendered(base, prompt) for prompt in PROMPTS]
    begun = base.processor.tokenizer.bos_token and texts[0].startswith(
        base.processor.tokenizer.bos_token
    )
    own = base.processor(
        images=[[picture] for picture in pictures],
        text=texts,
        return_tensors="pt",
        padding=True,
        padding_side="left",
        add_special_tokens=not begun,
    )
    made = collation.generation_inputs(base, images, PROMPTS)
    assert made.keys() == own.keys()
    real = own["attention_mask"] == 1
    assert torch.equal(made["attention_mask"], own["attention_mask"])
    for name, tensor in own.items():
        if name.endswith(("input_ids", "type_ids", "cross_attention_mask")):
            assert torch.equal(made[name][real], tensor[real]), name
        else:
            assert torch.equal(made[name], tensor), name


def test_a_batch_of_unlike_images_has_the_loss_of_its_rows(base, images):
    batch = collation.training_batch(base, images, PROMPTS, CAPTIONS)
    assert IMAGE_TEXT not in batch
    total, single = collation.predicted_tokens(base, batch["labels"]), 0.0
    with torch.no_grad():
        loss = base.model(**batch).loss.item()
        inputs = base.family.training_inputs(base, batch)
        trained = base.model(**inputs, labels=batch["labels"]).loss.item()
        for example in zip(images, PROMPTS, CAPTIONS, strict=True):
            row = collation.training_batch(base, *([each] for each in example))
            tokens = collation.predicted_tokens(base, row["labels"])
            single += base.model(**row).loss.item() * tokens
    assert loss == pytest.approx(single / total, rel=1e-5)
    assert trained == pytest.approx(loss, rel=1e-5)


def test_a_batch_may_be_repeated(base, images):
    """As a pack does that writes captions of all its adapters at once."""
    batch = collation.generation_inputs(base, images, PROMPTS)
    with torch.no_grad():
        once = base.model(**batch).logits
        twice = base.model(**collation.repeated(batch, 2)).logits
    torch.testing.assert_close(twice, torch.cat([once, once]), rtol=0, atol=1e-4)


def test_what_is_learned_is_the_answer_and_the_end_of_its_turn(base, images):
    tokens = base.family.target_tokens(base, PROMPTS[0], "a disc")
    assert base.processor.tokenizer.decode(tokens, skip_special_tokens=True).strip() == "a disc"
    ends = base.model.generation_config.eos_token_id
    assert tokens[-1] in (ends if isinstance(ends, list) else [ends])


def test_a_prompt_that_spells_the_image_token_is_refused(llava_base, pictures):
    image = llava_base.family.encode(llava_base, pictures[0])
    prompt = Prompt(system=None, text="What is <image>?")
    with pytest.raises(ValueError, match=r"prompt\.text: .* '<image>' once"):
        llava_base.family.prompt_tokens(llava_base, image, prompt)


def test_captions_must_have_neither_placeholder_nor_image_token(checkpoints, pictures):
    """Gemma's template writes another token than those that stand for features."""
    base = load_base(Model(base=str(checkpoints("gemma3"))), "none", CPU)
    image = base.family.encode(base, pictures[0])
    for token in ("<start_of_image>", "<image_soft_token>"):
        with pytest.raises(ValueError, match=f"must not contain .* got 'a {token}'"):
            collation.training_batch(base, [image], PROMPTS[:1], [f"a {token}"])


def test_a_system_prompt_for_which_a_template_has_no_place_is_refused(checkpoints):
    """Llama 3.2's template raises where there is an image, too."""
    base = load_base(Model(base=str(checkpoints("mllama"))), "none", CPU)
    prompt = Prompt(system="Be brief.", text="?")
    with pytest.raises(ValueError, match=r"prompt\.system: .* refuses it: .* system messages"):
        base.family.rendered(base, prompt)
    base.processor.chat_template = "{{ messages[-1]['content'][0]['type'] }}"
    with pytest.raises(ValueError, match=r"prompt\.system must be null: .* no place .* 'image'"):
        base.family.rendered(base, prompt)


def test_an_architecture_that_was_not_tried_is_named(llava, monkeypatch):
    monkeypatch.setattr("workers.families.generic.TRIED", ())
    with pytest.warns(UserWarning, match=r"model\.base is of type 'llava'.*sweeps check"):
        load_base(Model(base=str(llava)), "none", CPU)


def test_a_processor_without_chat_template_is_refused(llava_base):
    llava_base.processor.chat_template = None
    with pytest.raises(ValueError, match=r"'llava'; supported are blip-2, git.*no chat template"):
        llava_base.family.check(llava_base)


def test_a_processor_that_changes_the_prompt_is_refused(llava_base, pictures, monkeypatch):
    def whisper(processor, images, text, **named):
        return processor.tokenizer([text[0].lower()])

    monkeypatch.setattr(type(llava_base.processor), "__call__", whisper)
    with pytest.raises(ValueError, match=r"model\.base: its processor must replace the image"):
        llava_base.family.encode(llava_base, pictures[0])


def test_what_has_an_encoder_and_a_decoder_learns_with_the_decoder(checkpoints, pictures):
    base = load_base(Model(base=str(checkpoints("t5gemma2"))), "none", CPU)
    images = [base.family.encode(base, picture) for picture in pictures[:2]]
    batch = collation.training_batch(base, images, PROMPTS[:2], CAPTIONS[:2])
    prompts = [
        base.family.prompt_tokens(base, *each) for each in zip(images, PROMPTS, strict=False)
    ]
    assert batch["input_ids"].shape[1] == max(map(len, prompts))
    answers = [base.family.target_tokens(base, PROMPTS[0], caption) for caption in CAPTIONS[:2]]
    assert [[t for t in row if t != -100] for row in batch["labels"].tolist()] == answers


def test_target_sets_are_known_without_loading_a_model():
    assert families.get("unheard-of").TARGETS.keys() >= {"text", "text_all", "vision", "all"}


def test_what_is_said_to_be_tried_has_a_tiny_checkpoint():
    assert set(SAID_TO_BE_TRIED) <= set(ARCHITECTURES)
