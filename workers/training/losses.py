"""The loss of every learned token, with no other position projected to the vocabulary.

Between the last hidden states and the logits lies one linear layer, the head. Its logits are by far
the largest tensor of a small batch: (batch, positions, vocabulary), of which the loss reads the few
positions that predict a caption. So the head is given those positions alone. One hook on it does so
for every family: whatever a model does before its head (T5's scale of tied embeddings) and behind
it (Gemma's soft cap) is done by the model itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from workers.encoding import collation
from workers.encoding.collation import IGNORED, Batch
from workers.families.base import Base


def token_losses(base: Base, model: Any, batch: Batch, smoothing: Tensor) -> Tensor:
    """Return the cross-entropy of each learned token of a batch of `workers.encoding.collation`.

    (tokens,) in float32 on the base's device, row after row.

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
    chosen = {
        "targets": learned[rows, places],
        "smoothed": smoothed,
        "rows": rows,
        "places": places,
    }
    targets, smoothed, rows, places = collation.on_device(chosen, base.device).values()
    inputs = {key: value for key, value in batch.items() if key != "labels"}
    if base.encoder_decoder:  # its decoder reads the labels one place later, as it shifts them
        text = base.model.language_model
        inputs["decoder_input_ids"] = text.prepare_decoder_input_ids_from_labels(labels)
    inputs = collation.on_device(inputs, base.device)
    with _projected(base.model.get_output_embeddings(), labels.shape[1], rows, places):
        logits = model(**inputs, use_cache=False).logits
    if logits.dim() == 3:  # the head was none that is known, or it was not called
        logits = _chosen(logits, labels.shape[1], rows, places)
    logits = logits.float()
    losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    if bool(smoothed.any()):
        # The cross-entropy with equal shares for all tokens of the vocabulary.
        uniform = logits.logsumexp(dim=-1) - logits.mean(dim=-1)
        losses = torch.lerp(losses, uniform, smoothed.to(losses.dtype))
    return losses


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
