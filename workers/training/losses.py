"""The loss of every learned token, with no other position projected to the vocabulary.

Between the last hidden states and the logits lies one linear layer, the head. Its logits are by far
the largest tensor of a small batch: (batch, positions, vocabulary), of which the loss reads the few
positions that predict a caption. So the head is given those positions alone. One hook on it does so
for every family: whatever a model does before its head (T5's scale of tied embeddings) and behind
it (Gemma's soft cap) is done by the model itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from workers.encoding import collation
from workers.encoding.collation import IGNORED, Batch
from workers.families.base import Base


@dataclass(frozen=True, kw_only=True)
class TokenLosses:
    """What a batch lost, token by token, row after row."""

    losses: Tensor
    """(tokens,), float32: the cross-entropy of each learned token, on the base's device."""
    rows: Tensor
    """(tokens,): the row of the batch that each is of, on the base's device."""


def token_losses(base: Base, model: Any, batch: Batch, smoothing: Tensor) -> TokenLosses:
    """Return the cross-entropy of all learned tokens of a batch of `workers.encoding.collation`.

    `model` is the base's own, or that with adapters in any form. `smoothing` is the label smoothing
    of each row, (batch,), on the CPU, 0 for none (Szegedy et al. 2016, as
    `torch.nn.functional.cross_entropy` has it). Without smoothing the mean of the losses is the
    model's own loss.
    """
    labels = batch["labels"]
    learned = collation.learned_labels(base, labels)
    # Found where the labels are: on a GPU it would wait for all that is under way.
    rows, places = (learned != IGNORED).nonzero(as_tuple=True)
    smoothed = smoothing.to(rows.device)[rows]
    targets, smoothed, rows, places = (
        tensor.to(base.device, non_blocking=True)
        for tensor in (learned[rows, places], smoothed, rows, places)
    )
    inputs = _inputs(base, batch)
    with _projected(base.model.get_output_embeddings(), labels.shape[1], rows, places):
        logits = model(**inputs, use_cache=False).logits
    if logits.dim() == 3:  # the head was none that is known, or it was not called
        logits = _chosen(logits, labels.shape[1], rows, places)
    losses = _cross_entropy(logits, targets, smoothed, bool(smoothing.any()))
    return TokenLosses(losses=losses, rows=rows)


def _inputs(base: Base, batch: Batch) -> Batch:
    """Return the arguments of `forward` on the base's device: all but the labels.

    A decoder of its own reads the labels one place later, as it shifts them itself.
    """
    inputs = {key: value.to(base.device) for key, value in batch.items() if key != "labels"}
    if base.encoder_decoder:
        text = base.model.language_model
        labels = batch["labels"].to(base.device)
        inputs["decoder_input_ids"] = text.prepare_decoder_input_ids_from_labels(labels)
    return inputs


@contextmanager
def _projected(head: Any, tokens: int, rows: Tensor, places: Tensor) -> Iterator[None]:
    """Let the head see the hidden states of the chosen positions alone, for a while."""
    if head is None:
        yield
        return
    hook = head.register_forward_pre_hook(
        lambda module, hidden: (_chosen(hidden[0], tokens, rows, places), *hidden[1:])
    )
    try:
        yield
    finally:
        hook.remove()


def _chosen(states: Tensor, tokens: int, rows: Tensor, places: Tensor) -> Tensor:
    """Return (chosen, width) of (batch, positions, width).

    Places count from the first of the last `tokens` positions: GIT puts the image in front.
    """
    return states[rows, states.shape[1] - tokens + places]


def _cross_entropy(logits: Tensor, targets: Tensor, smoothing: Tensor, smoothed: bool) -> Tensor:
    """Return the losses of (tokens, vocabulary) in float32, each with its own smoothing."""
    logits = logits.float()
    losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    if not smoothed:
        return losses
    # The cross-entropy with equal shares for all tokens of the vocabulary.
    uniform = logits.logsumexp(dim=-1) - logits.mean(dim=-1)
    return torch.lerp(losses, uniform, smoothing.to(losses.dtype))
