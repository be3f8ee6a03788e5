import pytest

from sweeps.fleet.need import base_bytes, trial_bytes
from sweeps.spec import parse
from workers import checkpoint_files
from workers.checkpoint_files import OPTIMIZER_BYTES


@pytest.fixture(scope="module")
def files(untrained_base):
    return checkpoint_files.find(str(untrained_base), None)


def test_precision_and_quantization_decide_what_a_base_needs(files):
    whole = base_bytes(files, "none", "float32", gpu=True)
    assert whole == 4 * files.weights
    assert base_bytes(files, "none", "auto", gpu=True) == whole / 2
    assert base_bytes(files, "none", "auto", gpu=False) == whole
    assert base_bytes(files, "nf4", "bfloat16", gpu=True) < whole / 2


def test_a_trial_needs_its_base_and_its_adapter(files, untrained_base):
    sweep = parse(f"name: need\nmodel: {{base: {untrained_base}}}\ndata: {{source: shapes}}\n")
    small, large = (trial_bytes(sweep, files, {"adapter.rank": rank}) for rank in (4, 16))
    weights = files.adapter_weights(sweep.adapter.targets, 12)
    assert large - small == weights * OPTIMIZER_BYTES > 0
    assert small > base_bytes(files, sweep.quantization, sweep.model.dtype, gpu=True)
    packed = trial_bytes(sweep, files, {"adapter.rank": 4, "quantization": "nf4"})
    assert packed < small
