import pytest
import torch
from transformers.quantizers.quantizers_utils import should_convert_module

from workers.memory.weights import base_bytes
from workers.models import checkpoint_files
from workers.models.loading import load_base
from workers.quantizations import NAMES
from workers.quantizations.unquantized import is_unquantized, unquantized_modules
from workers.recipe import Model


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("quantization", NAMES)
def test_a_row_does_not_depend_on_its_neighbours(untrained_base, quantization, training):
    """Neither on large activations, which LLM.int8() looks for in the whole batch."""
    base = load_base(Model(base=str(untrained_base)), quantization, torch.device("cpu"))
    path = next(path for path in base.linear_layers if path.startswith("git.encoder"))
    layer = base.model.get_submodule(path).train(training)
    row = torch.randn(1, 5, layer.in_features, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        together = layer(torch.cat([1000 * row, row, -row]))
        assert torch.equal(together[1], layer(row)[0])


def quantized(base):
    """Paths of the linear layers whose weights are no numbers to train."""
    layers = {path: base.model.get_submodule(path) for path in base.linear_layers}
    return {path for path, layer in layers.items() if not layer.weight.is_floating_point()}


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_named_modules_and_the_head_are_left_alone(checkpoints, quantization):
    folder = str(checkpoints("qwen2_5_vl"))
    plain, own = (
        load_base(Model(base=folder, unquantized_modules=names), quantization, torch.device("cpu"))
        for names in (None, ["model.visual", "o_proj"])
    )
    gone = quantized(plain) - quantized(own)
    assert gone
    assert quantized(own)
    assert gone == {
        path for path in quantized(plain) if "model.visual." in path or path.endswith("o_proj")
    }
    assert "lm_head" not in quantized(plain) | quantized(own)
    files = checkpoint_files.find(folder, None)
    sizes = [
        base_bytes(files, Model(base=folder, unquantized_modules=names), quantization, gpu=False)
        for names in (None, ["model.visual", "o_proj"])
    ]
    there = [sum(p.nbytes for p in each.model.parameters()) for each in (plain, own)]
    assert sizes[1] - sizes[0] == pytest.approx(there[1] - there[0], rel=0.05)


def test_a_checkpoint_s_own_config_says_what_its_authors_left_alone(checkpoints):
    config = {"quantization_config": {"llm_int8_skip_modules": ["visual", "lm_head"]}}
    assert unquantized_modules(None, config) == ("visual", "lm_head")
    assert unquantized_modules(["merger"], config) == ("merger",)
    assert unquantized_modules(None, {}) == ()


@pytest.mark.parametrize(
    "name", ["model.visual", "o_proj", r"model.language_model.layers.1", "layers.*.mlp", "mlp.gate"]
)
def test_names_are_read_as_transformers_reads_them(checkpoints, name):
    base = load_base(Model(base=str(checkpoints("qwen2_5_vl"))), "none", torch.device("cpu"))
    for path in base.modules:
        assert is_unquantized(path, [name]) is not should_convert_module(path, [name])


def test_a_name_that_the_base_does_not_have_is_refused(checkpoints):
    model = Model(base=str(checkpoints("qwen2_5_vl")), unquantized_modules=["model.eyes"])
    with pytest.raises(ValueError, match=r"model\.unquantized_modules must .* got 'model\.eyes'"):
        load_base(model, "nf4", torch.device("cpu"))
