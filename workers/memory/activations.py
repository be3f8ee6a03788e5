"""Bytes of activations: what autograd keeps of a forward pass for the backward pass.

Which tensors are kept was read off torch's saved tensors for each family: a frozen linear layer
keeps none of its input, a norm its input, attention its queries, keys, values and output, an
activation function its argument, and an adapter its own input in float32. Compared with
measurements in benchmarks/memory.md. The bookkeeping of Korthikanti et al. 2022 ("Reducing
Activation Recomputation in Large Transformer Models") is the same for models that train fully.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from workers import families
from workers.memory.layers import Architecture, Block, Kind, LinearLayer
from workers.memory.row import RowLengths
from workers.models.checkpoint_files import CheckpointFiles
from workers.recipe import Adapter, Recipe

FLOAT32 = 4
EAGER = frozenset({"git"})
"""Model types whose attention writes the matrix of scores; all others use torch's fused one."""
ALLOWANCE = 1.1
"""For attention masks, tables of positions and other small things that are kept besides."""
_HEAD_WIDTH = 64  # of a config that leaves the number of heads out


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """What decides how much a block keeps, besides its own size."""

    element: int
    """Bytes of an activation."""
    mask: int
    """Bytes of an element of the mask of an adapter's dropout: torch keeps booleans on a GPU,
    numbers on a CPU. A base has no dropout of its own: `workers.models.loading.without_dropout`."""
    heads: int
    """Of attention that writes its scores; 0 where it is fused."""


def keeping(files: CheckpointFiles, element: int, *, gpu: bool) -> Keeping:
    """Return what the checkpoint's config says of its activations."""
    text = files.config.get("text_config") or files.config
    heads = int(text.get("num_attention_heads") or text.get("hidden_size", 768) // _HEAD_WIDTH)
    return Keeping(
        element=element,
        mask=1 if gpu else FLOAT32,
        heads=heads if files.model_type in EAGER else 0,
    )


@dataclass(frozen=True, kw_only=True)
class Place:
    """A block and the sequences that it reads of one row."""

    block: Block
    kind: Kind
    tokens: int
    """Of its own sequence."""
    other: int
    """Of the sequence that its cross-attention reads, if it has one."""


def block_bytes(place: Place, how: Keeping) -> float:
    """Return the bytes that a frozen block keeps of one row.

    T x (norms x h x (e for LayerNorm, 4 for RMSNorm) + (4 a + m x kept) x e) for T tokens, e bytes
    per element, a block of width h, queries of width a and an MLP of inner width m. Attention keeps
    queries, output, and keys and values, which are repeated where heads share them.
    """
    block = place.block
    norms = block.norms * block.width * (how.element if block.centred else FLOAT32)
    inner = 4 * block.attention + 2 * block.cross + block.mlp * block.mlp_kept
    per_token = norms + inner * how.element
    read = 2 * block.cross * place.other * how.element
    return place.tokens * per_token + read + _scores(place, how)


def passing_bytes(place: Place, how: Keeping) -> float:
    """Return the bytes of one row that are alive while a block runs without gradients.

    Residual stream and its normed copy, and attention or MLP, whichever takes more.
    """
    block = place.block
    inner = max(4 * block.attention, block.mlp * block.mlp_kept, 4 * block.cross)
    per_token = block.width * (how.element + FLOAT32) + inner * how.element
    return place.tokens * per_token + how.heads * place.tokens**2 * how.element


def adapter_bytes(place: Place, pattern: str, how: Keeping, adapter: Adapter) -> float:
    """Return the bytes that the adapters of a block keep of one row.

    B A x keeps x, dropped and in float32, for the gradient of A, and A x for that of B:
    4 x (inputs + rank) per token, and the mask of the dropout.
    """
    return sum(
        (place.other if layer.reads_other else place.tokens) * _adapter_bytes(layer, how, adapter)
        for layer in place.block.layers
        if re.fullmatch(pattern, layer.path)
    )


def _adapter_bytes(layer: LinearLayer, how: Keeping, adapter: Adapter) -> float:
    """Return the bytes of one token."""
    mask = how.mask if adapter.dropout else 0
    return FLOAT32 * (layer.inputs + adapter.rank) + mask * layer.inputs


def kept_bytes(recipe: Recipe, base: Architecture, row: RowLengths, how: Keeping) -> float:
    """Return the bytes that one row keeps between forward and backward, logits left out.

    Only blocks count that a gradient reaches: from the first one that is trained on. With
    activation checkpointing (Chen et al. 2016) each keeps its input alone, and its own activations
    come back one block at a time, see `working_bytes`.
    """
    pattern = _pattern(recipe, base)
    total = _end_bytes(base.towers[-1].blocks[-1], row, how)
    total += (row.image + row.learned) * sum(
        _adapter_bytes(layer, how, recipe.adapter)
        for layer in base.others
        if re.fullmatch(pattern, layer.path)
    )
    for place in _reached(recipe, pattern, base, row):
        if recipe.train.activation_checkpointing:
            total += place.block.width * place.tokens * how.element
        else:
            total += _with_adapters(place, pattern, how, recipe.adapter)
    return ALLOWANCE * total


def working_bytes(recipe: Recipe, base: Architecture, row: RowLengths, how: Keeping) -> float:
    """Return the bytes of one row that are alive for the length of one block.

    The gradients of the largest block's activations, which are as large as these; with
    checkpointing the activations as well.
    """
    pattern = _pattern(recipe, base)
    places = sequences(base, row)
    largest = max(_with_adapters(place, pattern, how, recipe.adapter) for place in places)
    return largest * (2 if recipe.train.activation_checkpointing else 1)


def sequences(base: Architecture, row: RowLengths) -> Iterator[Place]:
    """Yield every block with the lengths of what it reads, in the order of the data."""
    own = _tokens(base, row)
    for tower in base.towers:
        other = {"bridge": row.vision, "decoder": row.read}.get(tower.kind, 0)
        for block in tower.blocks:
            yield Place(block=block, kind=tower.kind, tokens=own[tower.kind], other=other)


def _tokens(base: Architecture, row: RowLengths) -> dict[Kind, int]:
    """Return the tokens of each kind of tower: without an encoder the decoder reads all."""
    encoded = any(tower.kind == "encoder" for tower in base.towers)
    return {
        "vision": row.vision,
        "bridge": row.image,
        "encoder": row.read,
        "decoder": row.learned if encoded else row.read + row.learned,
    }


def _pattern(recipe: Recipe, base: Architecture) -> str:
    family = families.get(base.files.model_type)
    return families.target_pattern(family, recipe.adapter.targets)


def _reached(recipe: Recipe, pattern: str, base: Architecture, row: RowLengths) -> Iterator[Place]:
    """Yield the blocks from the first one that trains something on."""
    # Other trained modules and biases may lie before all blocks.
    reached = recipe.adapter.bias == "all" or bool(recipe.adapter.trained_modules)
    for place in sequences(base, row):
        layers = place.block.layers
        reached = reached or any(re.fullmatch(pattern, layer.path) for layer in layers)
        if reached:
            yield place


def _with_adapters(place: Place, pattern: str, how: Keeping, adapter: Adapter) -> float:
    return block_bytes(place, how) + adapter_bytes(place, pattern, how, adapter)


def _end_bytes(last: Block, row: RowLengths, how: Keeping) -> float:
    """Return what the final norm keeps, and the outputs at the positions that are learned."""
    norm = how.element if last.centred else FLOAT32
    return (row.read + row.learned) * last.width * norm + row.learned * last.width * how.element


def _scores(place: Place, how: Keeping) -> float:
    """Return the bytes of heads x T x T scores.

    A vision tower has a copy in float32 where it is not in float32 itself.
    """
    copied = FLOAT32 if place.kind == "vision" and how.element < FLOAT32 else 0
    return how.heads * place.tokens**2 * (how.element + copied)
