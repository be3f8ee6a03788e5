"""Kernels of the attention that a loaded base uses, and those that are refused first."""

import pytest
import torch

from workers import data
from workers.encoding import collation
from workers.families.prompts import PromptBuilder
from workers.models import attention
from workers.models.loading import load_base
from workers.recipe import Data, Model

CPU = torch.device("cpu")


def loss(base):
    samples = data.load(Data(source="shapes", limit=12)).splits["train"][:2]
    images = [base.family.encode(base, sample.open()) for sample in samples]
    prompts = [PromptBuilder().build(base.family, None, "image")] * 2
    batch = collation.training_batch(base, images, prompts, ["a disc", "two words"])
    with torch.no_grad():
        return base.model(**batch).loss.item()


def test_every_kernel_gives_the_same_loss(checkpoints):
    folder, losses = str(checkpoints("qwen2_5_vl")), {}
    for name in (None, "eager", "sdpa"):
        base = load_base(Model(base=folder, attn_implementation=name), "none", CPU)
        text = base.model.get_submodule("model.language_model")
        assert text.config._attn_implementation == (name or "sdpa")
        losses[name] = loss(base)
    assert losses["eager"] == pytest.approx(losses["sdpa"], abs=1e-5)
    assert losses[None] == losses["sdpa"]


@pytest.mark.parametrize("name", ["flash_attention_2", "flex_attention"])
def test_a_kernel_for_gpus_is_refused_before_a_base_loads_on_a_cpu(checkpoints, name):
    model = Model(base=str(checkpoints("qwen2_5_vl")), attn_implementation=name)
    with pytest.raises(ValueError, match=r"model\.attn_implementation .*it needs a GPU"):
        load_base(model, "none", CPU)


@pytest.mark.parametrize(
    ("name", "package"),
    [("flash_attention_2", "flash_attn"), ("flash_attention_3", "flash_attn_interface")],
)
def test_a_kernel_that_is_not_installed_is_never_fetched(name, package):
    with pytest.raises(ValueError, match=f"the package {package} is not installed"):
        attention.check_installed(name)
    attention.check_installed("flex_attention")  # torch has it


def test_captions_are_written_with_any_machine_s_kernel():
    model = Model(base="b", attn_implementation="flash_attention_2", dtype="float16")
    assert attention.of_any_machine(model) == Model(base="b", dtype="float16")
