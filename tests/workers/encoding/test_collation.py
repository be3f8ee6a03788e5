"""What is common to all families in making batches, and prompts."""

from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from workers.data.sample import Sample
from workers.encoding import collation
from workers.families.prompts import Prompt, PromptBuilder
from workers.models.loading import load_base
from workers.recipe import Model, PromptText
from workers.training.loop import Examples

PROMPT = Prompt(system=None, text="")


@pytest.fixture(scope="module")
def base(untrained_base):
    return load_base(Model(base=str(untrained_base)), "none", torch.device("cpu"))


@pytest.fixture(scope="module")
def qwen(checkpoints):
    return load_base(Model(base=str(checkpoints("qwen2_5_vl"))), "none", torch.device("cpu"))


def sample(name, captions, question=None):
    return Sample(
        id=name, open=lambda: Image.new("RGB", (40, 30)), captions=captions, question=question
    )


def test_captions_that_are_cut_are_counted_once(base):
    long = " ".join(["disc"] * 300)
    samples = [sample("a.png", ("a disc", long)), sample("b.png", (long, "zebra"))]
    examples = Examples.of(base, samples)
    assert examples.truncated == 0
    for _ in range(2):
        batch = examples.batch(base, [0, 1])
    assert examples.truncated == 1
    assert batch["labels"].shape == (2, base.positions)
    assert batch["labels"][1, -1] == base.processor.tokenizer.sep_token_id
    examples.batch(base, [2, 3])
    assert examples.truncated == 2


def test_a_caption_that_spells_the_image_token_is_refused(qwen):
    image = qwen.family.encode(qwen, Image.new("RGB", (60, 60)))
    with pytest.raises(ValueError, match=r"must not contain .* got 'a <\|image_pad\|> disc'"):
        collation.training_batch(qwen, [image], [PROMPT], ["a <|image_pad|> disc"])


def test_no_caption_is_a_caption_too(base):
    image = base.family.encode(base, Image.new("RGB", (40, 30)))
    batch = collation.training_batch(base, [image], [PROMPT], [""])
    assert collation.predicted_tokens(base, batch["labels"]) == 1  # the end


def test_the_prompt_is_the_recipes_or_else_the_familys(base, qwen):
    default = PromptBuilder(task="captioning")
    assert default.build(qwen.family, None, "a") == Prompt(system=None, text="Describe this image.")
    assert default.build(base.family, None, "a") == Prompt(system=None, text="")
    own = PromptBuilder(task="vqa", prompt=PromptText(system="Be brief.", text="Q: {question}"))
    assert own.build(qwen.family, "which?", "a") == Prompt(system="Be brief.", text="Q: which?")


def test_what_cannot_be_asked_is_named(base):
    with pytest.raises(ValueError, match=r"task vqa: b\.png has no question"):
        Examples.of(base, [sample("b.png", ("disc",))], PromptBuilder(task="vqa"))
    system = PromptBuilder(prompt=PromptText(system="Be brief."))
    with pytest.raises(ValueError, match=r"prompt\.system must be null"):
        Examples.of(base, [sample("b.png", ("disc",))], system)


def test_questions_become_prompts(base):
    samples = [sample("a", ("disc",), "which shape?"), sample("b", ("azure",), "which colour?")]
    examples = Examples.of(base, samples, PromptBuilder(task="vqa"))
    decoded = base.processor.tokenizer.batch_decode(examples.batch(base, [0, 1])["input_ids"])
    assert decoded[0].startswith("[CLS] which shape? disc [SEP]")


class HostTensor:
    """Stands for a tensor in pageable memory, where there is no GPU to pin any for."""

    device = torch.device("cpu")

    def pin_memory(self):
        return PinnedTensor()


class PinnedTensor:
    def to(self, device, non_blocking):
        return device.type, non_blocking


def test_a_gpu_gets_a_batch_from_pinned_memory_without_a_wait():
    gpu = SimpleNamespace(device=torch.device("cuda"))
    moved = collation.on_device(gpu, {"labels": HostTensor()})
    assert moved == {"labels": ("cuda", True)}
