"""The training loop: one epoch of one adapter, step by step, in plain PyTorch.

Why not a trainer class: several trials with their own optimizer and random state take turns
on one base, and a trainer that owns the model cannot do just one more step.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

import torch

from workers.data.sample import Sample
from workers.encoding import collation
from workers.encoding.collation import TokenizedExample
from workers.families.base import Base, Batch, Encoded
from workers.families.prompts import Prompt, PromptBuilder
from workers.features.decoding import DecoderPool
from workers.features.images import Features, Images, ImageWaits, Pixels
from workers.features.store import Store
from workers.recipe import Train
from workers.training.losses import LearnedTokens, token_losses
from workers.training.optimizer import AdapterOptimizer

LOOKAHEAD = 64
"""Examples of coming steps whose images are expected: decoders of one host make so many while a
step of a small base is taken."""


class NonFiniteLossError(ArithmeticError):
    """The loss became infinite or NaN; the trial cannot continue."""

    def __init__(self, message: str, loss: float) -> None:
        super().__init__(message)
        self.loss = loss


def not_finite(loss: float, step: int, epoch: int, train: Train) -> NonFiniteLossError:
    """Return the error for a loss of optimizer step `step` in epoch `epoch`, both from 0."""
    return NonFiniteLossError(
        f"train/loss is {loss} at step {step + 1} (epoch {epoch + 1}); "
        f"lower train.learning_rate (it is {train.learning_rate:g})",
        loss,
    )


def overflow(epoch: int) -> NonFiniteLossError:
    """Return the error for an epoch (from 0) whose gradients overflow, however little scaled."""
    return NonFiniteLossError(
        f"the gradients of epoch {epoch + 1} overflow float16, also without a loss scale: lower "
        "train.learning_rate, or set model.dtype to bfloat16 or float32",
        math.nan,
    )


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Image-text pairs of one split; an image with three captions makes three examples."""

    samples: Sequence[Sample]
    pixels: Images
    prompts: tuple[Prompt, ...]
    """The prompt of each sample."""
    pairs: tuple[tuple[int, str], ...]
    """(index of the sample, caption or answer)."""
    _base: Base = field(repr=False)
    _rows: dict[int, TokenizedExample] = field(default_factory=dict, repr=False)
    waits: ImageWaits = field(default_factory=ImageWaits, repr=False)
    """Of the steps of one epoch, those of `windows`."""

    @classmethod
    def of(
        cls,
        base: Base,
        samples: Sequence[Sample],
        builder: PromptBuilder | None = None,
        store: Store | None = None,
        decoders: DecoderPool | None = None,
    ) -> "Examples":
        """Return all pairs of `samples`, in their order.

        With a store, batches carry the features that it keeps, in place of pixels: for adapters
        that leave the image encoder alone. With decoders, images are made ahead of `windows`.

        Raises ValueError for a prompt that cannot be made, naming the field or the sample.
        """
        builder = builder or PromptBuilder()
        prompts = tuple(builder.build(base.family, each.question, each.id) for each in samples)
        pairs = tuple((index, text) for index, own in enumerate(samples) for text in own.captions)
        pixels: Images = Pixels(base, samples, decoders=decoders)
        if store is not None:
            pixels = Features(samples, store, decoders, base)
        return cls(samples=samples, pixels=pixels, prompts=prompts, pairs=pairs, _base=base)

    @property
    def truncated(self) -> int:
        """Number of captions that were cut at the model's last position, as far as seen."""
        return sum(row.truncated for row in self._rows.values())

    def rows(self, positions: Sequence[int]) -> list[TokenizedExample]:
        """Return the pairs at `positions` as tokens, which are made once."""
        missing = [position for position in positions if position not in self._rows]
        for position, image in zip(missing, self.images(missing), strict=True):
            index, target = self.pairs[position]
            self._rows[position] = collation.training_row(
                self._base, image, self.prompts[index], target
            )
        return [self._rows[position] for position in positions]

    def images(self, positions: Sequence[int]) -> list[Encoded]:
        """Return the images of the pairs at `positions`."""
        indices = self._indices(positions)
        if self.pixels.ready(indices):
            return self.pixels.of(indices)
        with self.waits.waiting():
            return self.pixels.of(indices)

    def expect(self, positions: Sequence[int]) -> None:
        """Let decoders begin with the images of the pairs at `positions`."""
        self.pixels.expect(self._indices(positions))

    def windows(
        self, epoch: int, train: Train, first: int = 0, most: int | None = None
    ) -> Iterator[list[list[int]]]:
        """Yield what `epoch_windows` yields, from optimizer step `first` (from 0).

        Before each step the images of the next one are expected, and of `LOOKAHEAD` examples.
        """
        windows = islice(epoch_windows(len(self.pairs), epoch, train, most), first, None)
        ahead: deque[list[list[int]]] = deque()
        while True:
            while len(ahead) < 2 or sum(map(len, chain(*ahead))) < LOOKAHEAD:
                window = next(windows, None)
                if window is None:
                    break
                self.expect([*chain(*window)])
                ahead.append(window)
            if not ahead:
                return
            self.waits.step += 1
            yield ahead.popleft()

    @property
    def image_waits(self) -> dict[str, float]:
        """How often steps waited for images, see `ImageWaits.counts`."""
        return self.waits.counts(self.pixels.queued)

    def batch(self, base: Base, chosen: Sequence[int]) -> Batch:
        """Collate the pairs at the positions `chosen`."""
        return collation.batch_of(base, self.images(chosen), self.rows(chosen))

    def batches(self, base: Base, size: int, copies: int = 1) -> Iterator[Batch]:
        """Yield all pairs as batches, each for `copies` adapters in a row."""
        for start in range(0, len(self.pairs), size):
            chosen = range(start, min(start + size, len(self.pairs)))
            yield self.batch(base, [*chosen] * copies)

    def _indices(self, positions: Sequence[int]) -> list[int]:
        return [self.pairs[position][0] for position in positions]


def steps_per_epoch(examples: int, train: Train) -> int:
    """Return the number of optimizer steps in one epoch; the last one may be smaller."""
    return math.ceil(examples / (train.batch_size * train.accumulate))


def steps_between_reads(device: torch.device) -> int:
    """Return after how many steps losses are read: on a GPU to read them waits for all steps."""
    return 1 if device.type == "cpu" else 16


def learning_rate(step: int, steps: int, train: Train) -> float:
    """Return the learning rate of optimizer step `step` (from 0) out of `steps`."""
    warmup = round(train.warmup * steps) if train.warmup_steps is None else train.warmup_steps
    if step < warmup:
        return train.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    factor = {
        "constant": 1.0,
        "linear": 1.0 - progress,
        "cosine": 0.5 * (1.0 + math.cos(math.pi * progress)),
    }[train.decay]
    return train.learning_rate * factor


def epoch_windows(
    pairs: int, epoch: int, train: Train, most: int | None = None
) -> Iterator[list[list[int]]]:
    """Yield, per optimizer step, the micro-batches of example positions.

    The order depends on the seed and the epoch alone, so a resumed trial sees the same one. A
    micro-batch has ``train.batch_size`` examples, or `most` where so many do not fit.
    """
    generator = torch.Generator().manual_seed(train.seed * 1_000_003 + epoch)
    order = torch.randperm(pairs, generator=generator).tolist()
    window = train.batch_size * train.accumulate
    for start in range(0, pairs, window):
        rows = order[start : start + window]
        size = most or train.batch_size
        yield [rows[i : i + size] for i in range(0, len(rows), size)]


def train_epoch(
    base: Base,
    model: Any,
    optimizer: AdapterOptimizer,
    examples: Examples,
    train: Train,
    epoch: int,
    first: int = 0,
    most: int | None = None,
) -> Iterator[torch.Tensor]:
    """Train the active adapter of `model` for epoch `epoch` (from 0); yield each step's loss.

    Begins with the epoch's step `first` (from 0), and has at most `most` rows in one forward.
    Between two steps others may use the model. The loss of a step is the mean over all predicted
    tokens of its window, so accumulating gives what one large batch would. It is a float64 on the
    base's device, where nothing waits for it, and may be no finite number.

    Raises `OptimizerError` for a step that cannot be taken again.
    """
    per_epoch = steps_per_epoch(len(examples.pairs), train)
    for step, window in enumerate(examples.windows(epoch, train, first, most), first):
        done = epoch * per_epoch + step
        optimizer.set_learning_rate(learning_rate(done, train.epochs * per_epoch, train))
        batches = [examples.batch(base, chosen) for chosen in window]
        if not (model.training and base.model.training):  # to walk all modules takes its time
            model.train()
        tokens = [collation.predicted_tokens(base, batch["labels"]) for batch in batches]
        loss = torch.zeros((), dtype=torch.float64, device=base.device)
        with checkpointing(base, train.activation_checkpointing):
            for batch, count in zip(batches, tokens, strict=True):
                part = token_loss(base, model, batch, train.label_smoothing)
                part = part * (count / sum(tokens))
                optimizer.scaled(part).backward()  # type: ignore[no-untyped-call]
                loss += part.detach()
        optimizer.step(train.max_grad_norm)
        yield loss


def token_loss(base: Base, model: Any, batch: Batch, smoothing: float = 0.0) -> torch.Tensor:
    """Return the mean cross-entropy over the predicted tokens.

    Without label smoothing that is the model's own loss.
    """
    labels = batch["labels"]
    tokens = LearnedTokens.of(base, labels, torch.full((len(labels),), smoothing))
    return token_losses(base, model, batch, tokens).mean()


@contextmanager
def checkpointing(base: Base, wanted: bool) -> Iterator[None]:
    """Turn activation checkpointing on for a while; generation wants its cache back.

    Not reentrant: the other kind needs inputs that require gradients, which GIT cannot take.
    """
    if not wanted:
        yield
        return
    model = base.model
    called = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
    getattr(model, f"{called}_checkpointing_enable")({"use_reentrant": False})
    # With an adapter attached the line above makes inputs require gradients nevertheless.
    model.disable_input_require_grads()
    try:
        yield
    finally:
        getattr(model, f"{called}_checkpointing_disable")()


@torch.inference_mode()
def mean_loss(base: Base, model: Any, examples: Examples, batch_size: int) -> float:
    """Return the mean cross-entropy over all predicted tokens of `examples`, in eval mode."""
    model.eval()
    total, tokens = 0.0, 0
    for batch in examples.batches(base, batch_size):
        count = collation.predicted_tokens(base, batch["labels"])
        total += token_loss(base, model, batch).item() * count
        tokens += count
    return total / tokens
