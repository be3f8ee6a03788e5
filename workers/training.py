"""The training loop: one epoch of one adapter, in plain PyTorch.

Why not a trainer class: several trials with their own optimizer and random state take turns
on one base, and a trainer that owns the model cannot be asked for just one more epoch.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from workers.data.sample import Sample
from workers.models import Base
from workers.pixels import Pixels
from workers.recipe import Train

Batch = dict[str, torch.Tensor]


class NonFiniteLossError(ArithmeticError):
    """The loss became infinite or NaN; the trial cannot go on."""


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Image-caption pairs of one split; an image with three captions makes three examples."""

    samples: Sequence[Sample]
    pixels: Pixels
    pairs: tuple[tuple[int, str], ...]
    """(index of the sample, caption)."""

    @classmethod
    def of(cls, base: Base, samples: Sequence[Sample]) -> "Examples":
        """Return all pairs of `samples`, in their order."""
        pairs = tuple(
            (index, caption) for index, sample in enumerate(samples) for caption in sample.captions
        )
        return cls(samples=samples, pixels=Pixels(base, samples), pairs=pairs)

    def batch(self, base: Base, chosen: Sequence[int]) -> Batch:
        """Collate the pairs at the positions `chosen`."""
        images, captions = zip(*(self.pairs[index] for index in chosen), strict=True)
        return base.family.training_batch(base.processor, self.pixels.batch(images), captions)


def steps_per_epoch(examples: int, train: Train) -> int:
    """Return the number of optimizer steps in one epoch; the last one may be smaller."""
    return math.ceil(examples / (train.batch_size * train.accumulate))


def learning_rate(step: int, steps: int, train: Train) -> float:
    """Return the learning rate of optimizer step `step` (from 0) out of `steps`."""
    warmup = round(train.warmup * steps)
    if step < warmup:
        return train.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    factor = {
        "constant": 1.0,
        "linear": 1.0 - progress,
        "cosine": 0.5 * (1.0 + math.cos(math.pi * progress)),
    }[train.decay]
    return train.learning_rate * factor


def epoch_windows(pairs: int, epoch: int, train: Train) -> Iterator[list[list[int]]]:
    """Yield, per optimizer step, the micro-batches of example positions.

    The order depends on the seed and the epoch alone, so a resumed trial sees the same one.
    """
    generator = torch.Generator().manual_seed(train.seed * 1_000_003 + epoch)
    order = torch.randperm(pairs, generator=generator).tolist()
    window = train.batch_size * train.accumulate
    for start in range(0, pairs, window):
        rows = order[start : start + window]
        yield [rows[i : i + train.batch_size] for i in range(0, len(rows), train.batch_size)]


def train_epoch(
    base: Base,
    model: Any,
    optimizer: torch.optim.Optimizer,
    examples: Examples,
    train: Train,
    epoch: int,
) -> float:
    """Train the active adapter of `model` for epoch `epoch` (from 0) and return the mean loss.

    The loss of a step is the mean over all predicted tokens of its window, so accumulating
    gives what one large batch would. Raises `NonFiniteLossError`.
    """
    model.train()
    per_epoch = steps_per_epoch(len(examples.pairs), train)
    losses = []
    for step, window in enumerate(epoch_windows(len(examples.pairs), epoch, train)):
        done = epoch * per_epoch + step
        _set_learning_rate(optimizer, learning_rate(done, train.epochs * per_epoch, train))
        batches = [examples.batch(base, chosen) for chosen in window]
        losses.append(_optimizer_step(base, model, optimizer, batches, train.max_grad_norm))
        if not math.isfinite(losses[-1]):
            raise NonFiniteLossError(
                f"train/loss is {losses[-1]} at step {done + 1} (epoch {epoch + 1}); "
                f"lower train.learning_rate (it is {train.learning_rate:g})"
            )
    return sum(losses) / len(losses)


def _optimizer_step(
    base: Base,
    model: Any,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Batch],
    max_grad_norm: float | None,
) -> float:
    tokens = [base.family.predicted_tokens(batch["labels"]) for batch in batches]
    total = 0.0
    for batch, count in zip(batches, tokens, strict=True):
        loss = token_loss(base, model, batch) * (count / sum(tokens))
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    if max_grad_norm is not None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, max_grad_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total


def token_loss(base: Base, model: Any, batch: Batch) -> torch.Tensor:
    """Return the model's own loss: the mean cross-entropy over the predicted tokens."""
    moved = {name: tensor.to(base.device) for name, tensor in batch.items()}
    loss: torch.Tensor = model(**moved).loss
    return loss


@torch.inference_mode()
def mean_loss(base: Base, model: Any, examples: Examples, batch_size: int) -> float:
    """Return the mean cross-entropy over all predicted tokens of `examples`, in eval mode."""
    model.eval()
    total, tokens = 0.0, 0
    for start in range(0, len(examples.pairs), batch_size):
        chosen = range(start, min(start + batch_size, len(examples.pairs)))
        batch = examples.batch(base, chosen)
        count = base.family.predicted_tokens(batch["labels"])
        total += token_loss(base, model, batch).item() * count
        tokens += count
    return total / tokens


def _set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = value
