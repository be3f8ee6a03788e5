"""Bytes that writing captions takes besides the weights."""

from dataclasses import replace

from workers.memory.activations import FLOAT32, Keeping, passing_bytes, sequences
from workers.memory.layers import Architecture
from workers.memory.row import RowLengths
from workers.memory.weights import vocabulary
from workers.recipe import Evaluate

_LOGIT_COPIES = 3
"""Of the last position's, in float32: as they come, their log-softmax, and the beams' scores."""


def generation_bytes(
    evaluate: Evaluate, base: Architecture, row: RowLengths, how: Keeping
) -> float:
    """Return the bytes of one batch of captions: images x beams x those of one caption."""
    at_once = evaluate.batch_size * max(evaluate.beams, evaluate.final_beams)
    return at_once * caption_bytes(base, replace(row, learned=evaluate.max_new_tokens), how)


def caption_bytes(base: Architecture, row: RowLengths, how: Keeping) -> float:
    """Return the bytes of one caption: cached keys and values, one block at work, the logits.

    The cache is 2 x width of the keys x tokens x e for each block of the decoder, and what its
    cross-attention reads.
    """
    places = list(sequences(base, row))
    cached = sum(
        2 * how.element * (place.block.keys * place.tokens + place.block.cross * place.other)
        for place in places
        if place.kind == "decoder"
    )
    at_work = max(passing_bytes(place, how) for place in places)
    return cached + at_work + _LOGIT_COPIES * FLOAT32 * vocabulary(base.files)
