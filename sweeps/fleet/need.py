"""How much of a GPU a trial needs at least."""

from sweeps.context import Point
from sweeps.sweep import Sweep
from workers import quantizations
from workers.checkpoint_files import OPTIMIZER_BYTES, CheckpointFiles


def base_bytes(files: CheckpointFiles, quantization: str, dtype: str, *, gpu: bool) -> float:
    """Return the bytes of a base's weights in memory."""
    element = 2 if dtype == "bfloat16" or (dtype == "auto" and gpu) else 4
    packed = quantizations.get(quantization).BYTES_PER_WEIGHT
    linear = files.linear_weights()
    return (files.weights - linear) * element + linear * (packed or element)


def trial_bytes(sweep: Sweep, files: CheckpointFiles, point: Point) -> float:
    """Return the bytes of a trial's base and of its adapter with optimizer, on a GPU.

    A lower bound: activations come on top. Where even this does not fit, nothing will.
    """
    recipe = sweep.with_point(point)
    base = base_bytes(files, recipe.quantization, recipe.model.dtype, gpu=True)
    weights = files.adapter_weights(recipe.adapter.targets, recipe.adapter.rank)
    return base + weights * OPTIMIZER_BYTES
