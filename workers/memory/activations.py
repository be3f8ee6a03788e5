"""Bytes of activations: those that autograd keeps for the backward pass, and those of captions.

Which tensors are kept was read off torch's saved tensors for each family: a frozen linear layer
keeps none of its input, a norm its input, attention its queries, keys, values and output, an
activation function its argument, and an adapter its own input, in float32 where the trial is alone
and as it came in a pack. Compared with measurements in benchmarks/memory.md. The bookkeeping of
Korthikanti et al. 2022 ("Reducing Activation Recomputation in Large Transformer Models") is the
same for models that train fully.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from workers.memory.layers import Architecture, Block, Kind, LinearLayer, RowLengths
from workers.memory.shared_terms import SharedTerms
from workers.memory.weights import vocabulary
from workers.models.checkpoint_files import CheckpointFiles
from workers.recipe import Evaluate, Recipe

FLOAT32 = 4
EAGER = frozenset({"git"})
"""Model types whose attention writes the matrix of scores; all others use torch's fused one, unless
``model.attn_implementation`` is eager."""
ALLOWANCE = 1.1
"""For attention masks, tables of positions and other small things that are kept besides."""
GATED = 3
"""What ``act(gate x) * up x`` keeps: both factors and the argument."""
_LOGIT_COPIES = 3
"""Copies of the last position's logits in float32: with their log-softmax and the beams' scores."""
_HEAD_WIDTH = 64  # of a config that leaves the number of heads out


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """Sizes that decide how much a block keeps, besides its own."""

    element: int
    """Bytes of an activation."""
    mask: int
    """Bytes of an element of the mask of an adapter's dropout: torch keeps booleans on a GPU,
    numbers on a CPU. A base has no dropout of its own: `workers.models.loading.without_dropout`."""
    heads: int
    """Heads of attention that writes its scores; 0 where it is fused."""


def keeping(
    files: CheckpointFiles, element: int, *, gpu: bool, attention: str | None = None
) -> Keeping:
    """Return the sizes of activations from the checkpoint's config.

    `attention` is ``model.attn_implementation``.
    """
    text = files.config.get("text_config") or files.config
    heads = int(text.get("num_attention_heads") or text.get("hidden_size", 768) // _HEAD_WIDTH)
    scores = attention == "eager" or files.model_type in EAGER
    return Keeping(element=element, mask=1 if gpu else FLOAT32, heads=heads if scores else 0)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A block and the sequences that it reads of one row."""

    block: Block
    kind: Kind
    tokens: int
    """Tokens of its own sequence."""
    other: int
    """Tokens of the sequence that its cross-attention reads, if it has one."""


def block_bytes(place: Place, how: Keeping) -> float:
    """Return the bytes that a frozen block keeps of one row.

    T x (norms x h x (e for LayerNorm, 4 for RMSNorm) + (4 a + m x kept) x e) for T tokens, e bytes
    per element, a block of width h, queries of width a and an MLP of inner width m. Attention keeps
    queries, output, and keys and values, which are repeated where heads share them; where it is not
    fused, also heads x T x T scores, with a copy in float32 in a vision tower of another precision.
    """
    block = place.block
    norms = block.norms * block.width * (how.element if block.centred else FLOAT32)
    inner = 4 * block.attention + 2 * block.cross + block.mlp * block.mlp_kept
    inner += GATED * block.experts
    per_token = norms + inner * how.element
    read = 2 * block.cross * place.other * how.element
    copied = FLOAT32 if place.kind == "vision" and how.element < FLOAT32 else 0
    scores = how.heads * place.tokens**2 * (how.element + copied)
    return place.tokens * per_token + read + scores


def kept_bytes(
    recipe: Recipe, base: Architecture, row: RowLengths, how: Keeping, terms: SharedTerms
) -> float:
    """Return the bytes that one row keeps between forward and backward, logits left out.

    Only blocks count that a gradient reaches: from the first one that is trained on. With
    activation checkpointing (Chen et al. 2016) each keeps its input alone, and its own activations
    come back one block at a time, see `working_bytes`.
    """
    # The final norm, and the outputs at the positions that are learned.
    total = 0.0
    if base.towers:
        last = base.towers[-1].blocks[-1]
        norm = how.element if last.centred else FLOAT32
        total += (row.read + row.learned) * last.width * norm
        total += row.learned * last.width * how.element
    # In a pack, too, the head keeps its input in float32.
    total += (row.image + row.learned) * _terms_bytes(base.others, terms, how, shared=False)
    # Other trained modules and biases may lie before all blocks.
    reached = recipe.adapter.bias == "all" or bool(recipe.adapter.trained_modules)
    for place in sequences(base, row):
        block = place.block
        reached = reached or any(layer.path in terms.paths for layer in block.layers)
        if reached and recipe.train.activation_checkpointing:
            total += block.width * place.tokens * how.element
        elif reached:
            total += _with_terms(place, terms, how)
    return ALLOWANCE * total


def working_bytes(
    recipe: Recipe, base: Architecture, row: RowLengths, how: Keeping, terms: SharedTerms
) -> float:
    """Return the bytes of one row that are alive for the length of one block.

    The gradients of the largest block's activations, which are as large as these; with
    checkpointing the activations as well. In a pack also one layer's input and gradient in float32,
    which backward makes again.
    """
    places = list(sequences(base, row))
    largest = max((_with_terms(place, terms, how) for place in places), default=0.0)
    copied = [
        FLOAT32 * (layer.inputs + layer.outputs) * place.tokens
        for place in places
        for layer in place.block.layers
        if terms.packed and layer.path in terms.paths
    ]
    return largest * (2 if recipe.train.activation_checkpointing else 1) + max(copied, default=0)


def generation_bytes(
    evaluate: Evaluate, base: Architecture, row: RowLengths, how: Keeping
) -> float:
    """Return the bytes of a batch of captions besides weights: images x beams x those of one.

    These are the cache, 2 x width of the keys x tokens x e for each block of the decoder, and what
    its cross-attention reads; one block at work without gradients, which has the residual stream,
    its normed copy, and attention or MLP, whichever takes more; and the logits.
    """
    places = list(sequences(base, replace(row, learned=evaluate.max_new_tokens)))
    cached = sum(
        2 * how.element * (place.block.keys * place.tokens + place.block.cross * place.other)
        for place in places
        if place.kind == "decoder"
    )

    def at_work(place: Place) -> float:
        block = place.block
        mlp = block.mlp * block.mlp_kept + GATED * block.experts
        inner = max(4 * block.attention, mlp, 4 * block.cross)
        per_token = block.width * (how.element + FLOAT32) + inner * how.element
        return place.tokens * per_token + how.heads * place.tokens**2 * how.element

    logits = _LOGIT_COPIES * FLOAT32 * vocabulary(base.files)
    at_once = evaluate.usual_batch * max(evaluate.beams, evaluate.final_beams)
    return at_once * (cached + max(map(at_work, places), default=0.0) + logits)


def sequences(base: Architecture, row: RowLengths) -> Iterator[Place]:
    """Yield every block with the lengths of its sequences, in the order of the data."""
    encoded = any(tower.kind == "encoder" for tower in base.towers)
    own: dict[Kind, int] = {
        "vision": row.vision,
        "bridge": row.image,
        "encoder": row.read,
        "decoder": row.learned if encoded else row.read + row.learned,
    }
    for tower in base.towers:
        other = {"bridge": row.vision, "decoder": row.read if encoded else row.vision}
        for block in tower.blocks:
            read = other.get(tower.kind, 0)
            yield Place(block=block, kind=tower.kind, tokens=own[tower.kind], other=read)


def _with_terms(place: Place, terms: SharedTerms, how: Keeping) -> float:
    """Return the bytes that a block and its low-rank terms keep of one row."""
    layers = place.block.layers
    own = [layer for layer in layers if not layer.reads_other]
    other = [layer for layer in layers if layer.reads_other]
    kept = place.tokens * _terms_bytes(own, terms, how, shared=terms.packed)
    kept += place.other * _terms_bytes(other, terms, how, shared=terms.packed)
    return block_bytes(place, how) + kept


def _terms_bytes(
    layers: Iterable[LinearLayer], terms: SharedTerms, how: Keeping, *, shared: bool
) -> int:
    """Return the bytes that the low-rank terms of some layers keep of one token.

    B A x keeps x for the gradient of A, and A x in float32 for that of B, and the mask of the
    dropout. peft keeps x of each layer, dropped and in float32; a pack (`shared`) as it came, once
    for all layers that read the same.
    """
    adapted = [layer for layer in layers if layer.path in terms.paths]
    mask = how.mask if terms.dropout else 0
    kept = sum(FLOAT32 * terms.rank + mask * layer.inputs for layer in adapted)
    if shared:
        return kept + how.element * sum({layer.input: layer.inputs for layer in adapted}.values())
    return kept + FLOAT32 * sum(layer.inputs for layer in adapted)
