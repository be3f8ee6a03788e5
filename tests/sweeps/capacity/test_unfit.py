"""What a base cannot meet is refused from the header of its files, before a sweep starts."""

import pytest

from sweeps.capacity.memory import local_files
from sweeps.capacity.unfit import refuse_gpu_attention, refuse_unfit_models
from sweeps.spec.load import parse


@pytest.fixture
def refuse(untrained_base):
    """Return a function: fields of a sweep over a GIT -> None, or raises."""
    head = f"name: unfit\nmodel: {{base: {untrained_base}}}\ndata: {{source: shapes}}\n"

    def refuse_of(*assignments):
        sweep = parse(head, overrides=assignments)
        refuse_unfit_models(sweep, local_files(sweep))
        refuse_gpu_attention(sweep)

    return refuse_of


@pytest.mark.parametrize(
    "fields",
    [
        (),
        ("train.vision_learning_rate=1e-4", "adapter.targets=vision"),
        ("train.lora_plus_ratio=16", "model.attn_implementation=eager"),
        ("model.unquantized_modules=[git.image_encoder, dense]", "quantization=nf4"),
    ],
)
def test_what_the_base_has_is_accepted(refuse, fields):
    refuse(*fields)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (["train.vision_learning_rate=1e-4"], r"train\.vision_learning_rate must be null where"),
        (
            [
                "train.projector_learning_rate=1e-4",
                "search.space={adapter.targets: {choice: [all, text]}}",
            ],
            r"train\.projector_learning_rate must be null where .* belong to: language",
        ),
        (["model.unquantized_modules=[git.eyes]"], r"unquantized_modules must .* got 'git\.eyes'"),
        (
            ["model.attn_implementation=sdpa"],
            "'sdpa': Git.* of transformers does not have it; set one of null, eager",
        ),
        (["model.attn_implementation=flash_attention_2"], "'flash_attention_2': Git"),
        (["model.attn_implementation=flex_attention"], "'flex_attention': Git"),
    ],
)
def test_what_it_lacks_is_refused_by_the_field_s_name(refuse, fields, reason):
    with pytest.raises(ValueError, match=reason):
        refuse(*fields)


@pytest.mark.parametrize("name", ["flash_attention_3", "flex_attention"])
def test_a_kernel_for_gpus_is_refused_without_one(name):
    head = "name: unfit\nmodel: {base: somewhere}\ndata: {source: shapes}\n"
    sweep = parse(head, overrides=[f"model.attn_implementation={name}"])
    with pytest.raises(ValueError, match=f"attn_implementation '{name}': it needs a GPU"):
        refuse_gpu_attention(sweep)
