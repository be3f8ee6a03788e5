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
from workers.encoding.collation import IGNORED, to_device
from workers.families.base import Base, Batch
from workers.families.pixel_bytes import KEY
from workers.features.door import are_features


@dataclass(frozen=True, kw_only=True)
class LearnedTokens:
    """The tokens whose losses are computed, each (tokens,) and on the base's device."""

    rows: Tensor
    places: Tensor
    """Their places among the positions that labels have."""
    targets: Tensor
    smoothing: Tensor | None
    """Label smoothing of each token (Szegedy et al. 2016), None where none has any; as
    `torch.nn.functional.cross_entropy` has it."""

    @classmethod
    def of(cls, base: Base, labels: Tensor, smoothing: Tensor) -> "LearnedTokens":
        """Return all that a batch with these labels (rows, positions) learns, row after row.

        `smoothing` is that of each row, (rows,).
        """
        learned = collation.learned_labels(base, labels)
        rows, places = (learned != IGNORED).nonzero(as_tuple=True)
        return cls.at(base, learned, rows, places, smoothing)

    @classmethod
    def at(
        cls, base: Base, learned: Tensor, rows: Tensor, places: Tensor, smoothing: Tensor
    ) -> "LearnedTokens":
        """Return those at these rows and places of `learned`, see `collation.learned_labels`.

        All are on the CPU: found on a GPU they would wait for all that is under way.
        """
        own, found = smoothing[rows], torch.stack([rows, places, learned[rows, places]])
        rows, places, targets = to_device(found, base.device)
        smoothed = to_device(own, base.device) if bool(own.any()) else None
        return cls(rows=rows, places=places, targets=targets, smoothing=smoothed)


def token_losses(base: Base, model: Any, batch: Batch, tokens: LearnedTokens) -> Tensor:
    """Return the cross-entropy of some tokens of a batch of `workers.encoding.collation`.

    (tokens,) in float32 on the base's device. `model` is the base's own, or that with adapters in
    any form. Of all learned tokens without smoothing, the mean is the model's own loss.
    """
    labels = batch["labels"]
    inputs = base.family.training_inputs(base, batch)
    kept = KEY in batch and are_features(batch[KEY])
    grid = base.family.GRID if kept else None
    moving = {key: own for key, own in inputs.items() if key != grid}
    inputs |= collation.on_device(base, moving)
    if base.encoder_decoder:  # its decoder reads the labels one place later, as it shifts them
        whole = hasattr(base.model, "prepare_decoder_input_ids_from_labels")
        text = base.model if whole else base.model.language_model
        shifted = text.prepare_decoder_input_ids_from_labels(labels)
        inputs["decoder_input_ids"] = to_device(shifted, base.device)
    with _projected(base.model.get_output_embeddings(), labels.shape[1], tokens):
        logits = model(**inputs, use_cache=False).logits
    if logits.dim() == 3:  # the head was none that is known, or it was not called
        logits = _chosen(logits, labels.shape[1], tokens)
    logits = logits.float()
    losses = torch.nn.functional.cross_entropy(logits, tokens.targets, reduction="none")
    if tokens.smoothing is not None:
        # The cross-entropy with equal shares for all tokens of the vocabulary.
        uniform = logits.logsumexp(dim=-1) - logits.mean(dim=-1)
        losses = torch.lerp(losses, uniform, tokens.smoothing)
    return losses


@contextmanager
def _projected(head: Any, positions: int, tokens: LearnedTokens) -> Iterator[None]:
    """Let the head see the hidden states of the chosen tokens alone, for a while."""
    if head is None:
        yield
        return
    hook = head.register_forward_pre_hook(
        lambda module, hidden: (_chosen(hidden[0], positions, tokens), *hidden[1:])
    )
    try:
        yield
    finally:
        hook.remove()


def _chosen(states: Tensor, positions: int, tokens: LearnedTokens) -> Tensor:
    """Return (tokens, width) of (batch, positions, width).

    Places count from the first of the last `positions`: GIT puts the image in front.
    """
    return states[tokens.rows, states.shape[1] - positions + tokens.places]
