"""Examples of any family as a batch: padding, label mask, truncation, and the way back to text.

What is learned is the target and the end of text, nothing else: labels are -100 on image tokens,
prompt and padding. A prompt has the very tokens in training that it has in generation, because
prompt and target are turned into tokens apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from workers.families.base import IMAGE_TOKENS, Base, Encoded
from workers.families.prompts import Prompt

Batch = dict[str, torch.Tensor]
Tokens = Sequence[Sequence[int]]
IGNORED = -100
"""Label of a token that is not learned."""


@dataclass(frozen=True, kw_only=True)
class TokenizedExample:
    """One example as token numbers: the input of the model, and what it learns to generate."""

    prompt: tuple[int, ...]
    """All tokens up to the first learned one, image tokens included."""
    target: tuple[int, ...]
    """The learned ones, with the end of text; the loss averages over just these."""
    truncated: bool
    """The target was longer than the model's positions and was cut."""


def training_row(base: Base, image: Encoded, prompt: Prompt, target: str) -> TokenizedExample:
    """Return an example as tokens.

    Raises ValueError, naming ``prompt.text``, for a prompt that leaves no room for a target, and
    for a target that spells the image token: the model would look for another image.
    """
    before = base.family.prompt_tokens(base, image, prompt)
    tokens = base.family.target_tokens(base, prompt, target)
    if base.family.image_token(base) in tokens:
        raise ValueError(f"captions must not contain the model's image token, got {target!r}")
    room = base.positions - (0 if base.encoder_decoder else len(before))
    if room < 2:
        raise ValueError(
            f"prompt.text must leave room for a caption: with the image it has {len(before)} "
            f"tokens, and the model has {base.positions} positions"
        )
    # The end of text stays: a truncated caption, too, must come to an end.
    kept = tokens if len(tokens) <= room else [*tokens[: room - 1], tokens[-1]]
    return TokenizedExample(prompt=tuple(before), target=tuple(kept), truncated=len(tokens) > room)


def batch_of(base: Base, images: Sequence[Encoded], rows: Sequence[TokenizedExample]) -> Batch:
    """Return a batch whose loss is the cross-entropy of the targets; padding is on the right."""
    padding = _padding(base)
    if base.encoder_decoder:
        before, after = [row.prompt for row in rows], [row.target for row in rows]
        ids, labels = _padded(before, padding), _padded(after, IGNORED)
        text = {"input_ids": ids, "attention_mask": _mask(before), "labels": labels}
        return stacked(images) | text
    whole = [(*row.prompt, *row.target) for row in rows]
    learned = [(*[0] * len(row.prompt), *[1] * len(row.target)) for row in rows]
    ids, predicted = _padded(whole, padding), _padded(learned, 0)
    labels = ids.masked_fill(predicted == 0, IGNORED)
    text = {"input_ids": ids, "attention_mask": _mask(whole), "labels": labels}
    return stacked(images) | text | base.family.token_types(base, ids, predicted)


def training_batch(
    base: Base, images: Sequence[Encoded], prompts: Sequence[Prompt], targets: Sequence[str]
) -> Batch:
    """Return the batch of examples that are not tokenized yet; raises as `training_row` does."""
    examples = zip(images, prompts, targets, strict=True)
    return batch_of(base, images, [training_row(base, *example) for example in examples])


def generation_inputs(base: Base, images: Sequence[Encoded], prompts: Sequence[Prompt]) -> Batch:
    """Return keyword arguments of `generate`.

    Padding is on the left: new tokens must follow the prompt without a gap.
    """
    pairs = zip(images, prompts, strict=True)
    rows = [base.family.prompt_tokens(base, image, prompt) for image, prompt in pairs]
    ids, mask = _padded(rows, _padding(base), left=True), _mask(rows, left=True)
    types = base.family.token_types(base, ids, torch.zeros_like(ids))
    return stacked(images) | {"input_ids": ids, "attention_mask": mask} | types


def decode(base: Base, inputs: Mapping[str, torch.Tensor], output: torch.Tensor) -> list[str]:
    """Return the texts in `generate`'s output (batch, tokens), without prompts."""
    start = 0 if base.encoder_decoder else inputs["input_ids"].shape[1]
    texts = base.processor.tokenizer.batch_decode(output[:, start:], skip_special_tokens=True)
    return [text.strip() for text in texts]


def learned_labels(base: Base, labels: torch.Tensor) -> torch.Tensor:
    """Return the labels (batch, predictions) that the loss compares with the model's outputs.

    A decoder predicts the next token, so its first label has no prediction.
    """
    return labels if base.encoder_decoder else labels[:, 1:]


def predicted_tokens(base: Base, labels: torch.Tensor) -> int:
    """Count the tokens that the loss of a batch with these labels averages over."""
    return int((learned_labels(base, labels) != IGNORED).sum())


def stacked(images: Sequence[Encoded]) -> Batch:
    """Return the images' tensors, joined along their first axis."""
    keys = [key for key in images[0] if key != IMAGE_TOKENS]
    return {key: torch.cat([image[key] for image in images]) for key in keys}


def on_device(tensors: Mapping[str, torch.Tensor], device: torch.device) -> Batch:
    """Return tensors on a device; a copy to a GPU is from pinned memory, and not waited for."""
    if device.type != "cuda":
        return {name: tensor.to(device) for name, tensor in tensors.items()}
    return {
        name: tensor if tensor.is_cuda else tensor.pin_memory().to(device, non_blocking=True)
        for name, tensor in tensors.items()
    }


def _padding(base: Base) -> int:
    tokenizer = base.processor.tokenizer
    token = tokenizer.pad_token_id
    return int(tokenizer.eos_token_id if token is None else token)


def _mask(rows: Tokens, *, left: bool = False) -> torch.Tensor:
    return _padded([[1] * len(row) for row in rows], 0, left=left)


def _padded(rows: Tokens, value: int, *, left: bool = False) -> torch.Tensor:
    """Return the rows as (rows, longest)."""
    longest = max(len(row) for row in rows)
    gaps = [[value] * (longest - len(row)) for row in rows]
    pairs = zip(rows, gaps, strict=True)
    return torch.tensor([[*gap, *row] if left else [*row, *gap] for row, gap in pairs])
