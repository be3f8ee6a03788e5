"""First weights are those that plain peft draws, to the last bit; what a slot does by itself."""

import pytest
import torch
from peft import get_peft_model

from workers.models.adapters import AdaptedBase, lora_config
from workers.models.loading import load_base
from workers.packing.slot import fresh_adapter
from workers.recipe import Adapter, Model

SEED = 3
KINDS = {
    "default": Adapter(rank=4, alpha=8.0, dropout=0.0, targets="text_all_head"),
    "gaussian": Adapter(rank=3, alpha=8.0, dropout=0.1, init="gaussian", variant="rslora"),
    "orthogonal": Adapter(rank=4, alpha=8.0, dropout=0.0, init="orthogonal", targets="all"),
    "mica": Adapter(rank=4, alpha=8.0, dropout=0.0, init="mica", targets="all"),
}


@pytest.fixture
def base(checkpoints):
    """Return a function: dtype, quantization -> base."""

    def load(dtype, quantization):
        model = Model(base=str(checkpoints("git")), dtype=dtype)
        return load_base(model, quantization, torch.device("cpu"))

    return load


def assert_as_peft_draws(found, base, adapter):
    torch.manual_seed(SEED)
    model = get_peft_model(base.model, lora_config(adapter, base)).base_model.model
    assert len(found.layers) > 1
    for layer in found.layers:
        tuned = model.get_submodule(layer.path)
        assert found.scale == tuned.scaling["default"]
        expected = (tuned.lora_A["default"].weight, tuned.lora_B["default"].weight)
        for own, plain in zip(found.matrices[layer.path], expected, strict=True):
            assert own.dtype == plain.dtype == torch.float32
            assert torch.equal(own, plain)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("quantization", ["none", "nf4", "fp4", "int8"])
def test_of_every_precision_and_quantization(base, dtype, quantization):
    loaded, adapter = base(dtype, quantization), KINDS["default"]
    assert_as_peft_draws(fresh_adapter(adapter, loaded, SEED), loaded, adapter)


@pytest.mark.parametrize("kind", ["gaussian", "orthogonal", "mica"])
def test_of_every_initialisation(base, kind):
    loaded, adapter = base("bfloat16", "none"), KINDS[kind]
    assert_as_peft_draws(fresh_adapter(adapter, loaded, SEED), loaded, adapter)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_also_while_a_trial_beside_the_pack_has_adapters_on_the_base(base, quantization):
    loaded, adapter = base("bfloat16", quantization), KINDS["default"]
    adapted = AdaptedBase(loaded)
    adapted.attach("beside", adapter, seed=0)
    found = fresh_adapter(adapter, loaded, SEED)
    adapted.detach("beside")
    assert_as_peft_draws(found, loaded, adapter)
