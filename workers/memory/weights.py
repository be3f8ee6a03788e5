"""Bytes of weights: of the frozen base as it is stored, and of what a trial trains."""

import math
import re
from collections.abc import Sequence

from workers import families, quantizations
from workers.models.checkpoint_files import CheckpointFiles
from workers.quantizations.unquantized import is_unquantized, unquantized_modules
from workers.recipe import Adapter, Model, Recipe

TRAINED_BYTES = 16
"""Bytes per trained weight, all in float32: the weight, its gradient, and the two moments of AdamW
(Loshchilov and Hutter 2019)."""
ROUNDED_BYTES = 2
"""More of them where a pack multiplies with weights that are rounded to bfloat16."""

_EMBEDDING = r".*embed.*|.*\b(shared|wte|relative_attention_bias)\.weight"
_HEAD = r"(.*\.)?lm_head\.weight|output\.weight"
_SENSITIVE = r"qformer\..*|.*\bDenseReluDense\.wo\.weight"
"""Never quantized by transformers: BLIP-2's Q-Former, and the last layers of T5's MLPs."""
_PLAIN = re.compile(f"{_EMBEDDING}|{_HEAD}|{_SENSITIVE}")


def element_bytes(dtype: str, *, gpu: bool) -> int:
    """Return the bytes of a number of the base, and of its activations."""
    return 2 if dtype in ("bfloat16", "float16") or (dtype == "auto" and gpu) else 4


def base_bytes(files: CheckpointFiles, model: Model, quantization: str, *, gpu: bool) -> float:
    """Return the bytes of a base's weights on its device.

    A quantization stores the matrices of linear layers; embeddings, the head, norms and biases
    stay in the base's own precision, and so do ``model.unquantized_modules``.
    """
    kept = unquantized_modules(model.unquantized_modules, files.config)
    element = element_bytes(model.dtype, gpu=gpu)
    packed = quantizations.get(quantization).bytes_per_weight or element
    return sum(
        math.prod(shape) * (packed if is_quantized(name, shape, kept) else element)
        for name, shape in files.shapes.items()
    )


def largest_matrix(files: CheckpointFiles) -> int:
    """Return the weights of the largest matrix that a quantization stores.

    Four-bit weights are unpacked one matrix at a time where they are used.
    """
    sizes = (math.prod(shape) for name, shape in files.shapes.items() if is_quantized(name, shape))
    return max(sizes, default=0)


def trained_weights(recipe: Recipe, files: CheckpointFiles) -> int:
    """Return how many weights a trial trains.

    LoRA: rank x (inputs + outputs) per adapted layer (Hu et al. 2021), with DoRA its outputs
    more; besides trained biases and whole copies of modules.
    """
    adapter = recipe.adapter
    paths, shapes = adapted_paths(adapter, files), files.shapes
    trained = files.adapter_weights(adapter.targets, adapter.rank)
    if adapter.variant == "dora":
        trained += sum(shapes[f"{path}.weight"][0] for path in paths)
    biases = {name: math.prod(s) for name, s in shapes.items() if name.endswith(".bias")}
    if adapter.bias == "lora_only":
        trained += sum(biases.get(f"{path}.bias", 0) for path in paths)
    elif adapter.bias == "all":
        trained += sum(biases.values())
    copied = tuple(f"{path}." for path in adapter.trained_modules)
    return trained + sum(math.prod(s) for name, s in shapes.items() if name.startswith(copied))


def vocabulary(files: CheckpointFiles) -> int:
    """Return the number of logits at one position: the rows of the tokens' embedding, or head."""
    pattern = re.compile(f"{_EMBEDDING}|{_HEAD}")
    tables = (
        shape[0]
        for name, shape in files.shapes.items()
        if len(shape) == 2 and pattern.fullmatch(name) and "position" not in name
    )
    return max(tables, default=0)


def is_quantized(name: str, shape: tuple[int, ...], kept: Sequence[str] = ()) -> bool:
    """Return whether a weight is the matrix of a layer that a quantization stores.

    `kept` are modules that it leaves alone, see `workers.quantizations.unquantized`.
    """
    if len(shape) != 2 or _PLAIN.fullmatch(name):
        return False
    return not is_unquantized(name.removesuffix(".weight"), kept)


def adapted_paths(adapter: Adapter, files: CheckpointFiles) -> list[str]:
    """Return the paths of the linear layers that an adapter is put on."""
    pattern = families.target_pattern(files.family, adapter.targets)
    matrices = (name for name, shape in files.shapes.items() if len(shape) == 2)
    paths = (name.removesuffix(".weight") for name in matrices)
    return [path for path in paths if re.fullmatch(pattern, path)]
