import pytest
import torch

from workers.models.loading import load_base
from workers.quantizations import NAMES
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
