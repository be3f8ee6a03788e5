"""Examples of any family as a batch: padding, label mask, truncation, and the way back to text.

What is learned is the target and the end of text, nothing else: labels are -100 on image tokens,
prompt and padding. A prompt has the very tokens in training that it has in generation, because
prompt and target are turned into tokens apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import torch

from workers.families.base import IMAGE_TEXT, Base, Batch, Encoded
from workers.families.pixel_bytes import KEY
from workers.families.prompts import Prompt

Tokens = Sequence[Sequence[int]]
IGNORED = -100
"""Label of a token that is not learned."""


@dataclass(frozen=True, kw_only=True)
class TokenizedExample:
    """One example as token numbers: the input of the model, and what it learns to generate."""

    parts: tuple[tuple[tuple[int, ...], bool], ...]
    """Tokens and whether they are learned, one part after the other: a prompt with its image
    tokens, then a target with the end of text. The loss averages over just the learned ones."""
    truncated: bool
    """The target was longer than the model's positions and was cut."""

    @property
    def learned(self) -> int:
        """Number of learned tokens."""
        return sum(len(tokens) for tokens, learned in self.parts if learned)

    def tokens(self, learned: bool) -> tuple[int, ...]:
        """Return the tokens of all parts that are learned, or of those that are not."""
        return tuple(chain.from_iterable(own for own, each in self.parts if each is learned))


def training_row(base: Base, image: Encoded, prompt: Prompt, target: str) -> TokenizedExample:
    """Return an example as tokens.

    Raises ValueError, naming ``prompt.text``, for a prompt that leaves no room for a target, and
    for a target that spells the image token: the model would look for another image.
    """
    before = base.family.prompt_tokens(base, image, prompt)
    tokens = base.family.target_tokens(base, prompt, target)
    if base.family.image_tokens(base).intersection(tokens):
        raise ValueError(f"captions must not contain the model's image token, got {target!r}")
    room = room_behind(base, len(before))
    # The end of text stays: a truncated caption, too, must come to an end.
    kept = tokens if len(tokens) <= room else [*tokens[: room - 1], tokens[-1]]
    parts = (tuple(before), False), (tuple(kept), True)
    return TokenizedExample(parts=parts, truncated=len(tokens) > room)


def room_behind(base: Base, prompt_tokens: int) -> int:
    """Return how many tokens the model can write behind a prompt of so many, image included.

    Those are the positions that the prompt leaves; a decoder of its own has all of them. Raises
    ValueError, naming ``prompt.text``, where there is no room for a word and the end of text.
    """
    room = base.positions - (0 if base.encoder_decoder else prompt_tokens)
    if room < 2:
        raise ValueError(
            f"prompt.text must leave room for a caption: with the image it has {prompt_tokens} "
            f"tokens, and the model has {base.positions} positions"
        )
    return room


def batch_of(
    base: Base, images: Sequence[Encoded], rows: Sequence[TokenizedExample], multiple: int = 1
) -> Batch:
    """Return a batch whose loss is the cross-entropy of the targets; padding is on the right.

    `images` are those of the rows, in their order. Rows are as long as the longest, rounded up to a
    `multiple` where the model has positions.
    """
    padding, joined = _padding(base), stacked(base, images)

    def length(longest: int) -> int:
        return max(longest, min(-(-longest // multiple) * multiple, base.positions))

    if base.encoder_decoder:
        before, after = ([row.tokens(learned) for row in rows] for learned in (False, True))
        read, learned = (length(max(map(len, own))) for own in (before, after))
        text = {
            "input_ids": _padded(before, padding, read),
            "attention_mask": _mask(before, read),
            "labels": _padded(after, IGNORED, learned),
        }
        return joined | text
    whole = [[token for tokens, _ in row.parts for token in tokens] for row in rows]
    places = [[int(learned) for own, learned in row.parts for _ in own] for row in rows]
    tokens = length(max(map(len, whole)))
    ids, predicted = _padded(whole, padding, tokens), _padded(places, 0, tokens)
    labels = ids.masked_fill(predicted == 0, IGNORED)
    text = {"input_ids": ids, "attention_mask": _mask(whole, tokens), "labels": labels}
    return joined | text | base.family.token_types(base, ids, predicted, joined)


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
    joined = stacked(base, images)
    types = base.family.token_types(base, ids, torch.zeros_like(ids), joined)
    return joined | {"input_ids": ids, "attention_mask": mask} | types


def prompt_lengths(base: Base, images: Sequence[Encoded], prompts: Sequence[Prompt]) -> list[int]:
    """Return the number of tokens of each prompt, image tokens included."""
    pairs = zip(images, prompts, strict=True)
    return [len(base.family.prompt_tokens(base, image, prompt)) for image, prompt in pairs]


def decode(base: Base, inputs: Mapping[str, torch.Tensor], output: torch.Tensor) -> list[str]:
    """Return the texts in `generate`'s output (batch, tokens), without prompts."""
    start = 0 if base.encoder_decoder else inputs["input_ids"].shape[1]
    tokens = output[:, start:].tolist()  # a wait for the device here, and not one for each row
    texts = base.processor.tokenizer.batch_decode(tokens, skip_special_tokens=True)
    return [text.strip() for text in texts]


def learned_labels(base: Base, labels: torch.Tensor) -> torch.Tensor:
    """Return the labels (batch, predictions) that the loss compares with the model's outputs.

    A decoder predicts the next token, so its first label has no prediction.
    """
    return labels if base.encoder_decoder else labels[:, 1:]


def predicted_tokens(base: Base, labels: torch.Tensor) -> int:
    """Count the tokens that the loss of a batch with these labels averages over."""
    return int((learned_labels(base, labels) != IGNORED).sum())


def stacked(base: Base, images: Sequence[Encoded]) -> Batch:
    """Return the images' tensors, joined along their first axis.

    That is one of images, tiles or patches. Along all others zeros fill up what an image lacks, as
    processors do it: tiles behind its own, pixels to the right and below.
    """
    pixels = [image[KEY] for image in images if KEY in image]
    if len({(own.dtype, own.shape[1:]) for own in pixels}) > 1:
        images = [with_numbers(base, image) for image in images]  # no byte stands for such a zero
    keys = [key for key in images[0] if key != IMAGE_TEXT]
    return {key: _joined([image[key] for image in images], axis_of(images[0], key)) for key in keys}


def repeated(batch: Batch, copies: int) -> Batch:
    """Return the batch so many times over."""
    if copies == 1:
        return batch
    return {key: torch.cat([own] * copies, dim=axis_of(batch, key)) for key, own in batch.items()}


def axis_of(tensors: Mapping[str, torch.Tensor], key: str) -> int:
    """Return the axis along which one tensor of a batch, or of an image, follows another.

    MiniCPM-V lays the patches of all images side by side in one row, (1, 3, patch, pixels), and
    says in ``target_sizes`` how many there are (NaViT, Dehghani et al. 2023).
    """
    return -1 if key == "pixel_values" and "target_sizes" in tensors else 0


def _joined(tensors: Sequence[torch.Tensor], axis: int) -> torch.Tensor:
    if axis:
        return torch.cat(list(tensors), dim=axis)
    most = [max(sizes) for sizes in zip(*(each.shape[1:] for each in tensors), strict=True)]
    return torch.cat([_filled(each, most) for each in tensors])


def _filled(tensor: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
    """Return the tensor with zeros behind it along all axes but the first, up to these sizes."""
    lacking = [size - own for size, own in zip(sizes, tensor.shape[1:], strict=True)]
    if not any(lacking):
        return tensor
    both = [side for each in reversed(lacking) for side in (0, each)]
    return torch.nn.functional.pad(tensor, both)


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return the tensor on the device; on a GPU without waiting for the work that is under way.

    From pinned memory, which alone is copied beside it.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def on_device(base: Base, tensors: Mapping[str, torch.Tensor]) -> Batch:
    """Return a batch on the base's device, see `to_device`; there its bytes become numbers."""
    moved = {name: to_device(tensor, base.device) for name, tensor in tensors.items()}
    return with_numbers(base, moved)


def with_numbers(base: Base, image: Encoded) -> Batch:
    """Return an image, or the images of a batch, with the numbers that its pixels' bytes are."""
    pixels = image.get(KEY)
    if pixels is None or pixels.dtype != torch.uint8:
        return dict(image)
    assert base.pixel_bytes is not None, "bytes are made for bases that have a table of numbers"
    return {**image, KEY: base.pixel_bytes.unpack(pixels)}


def _padding(base: Base) -> int:
    tokenizer = base.processor.tokenizer
    token = tokenizer.pad_token_id
    return int(tokenizer.eos_token_id if token is None else token)


def _mask(rows: Tokens, length: int = 0, *, left: bool = False) -> torch.Tensor:
    return _padded([[1] * len(row) for row in rows], 0, length, left=left)


def _padded(rows: Tokens, value: int, length: int = 0, *, left: bool = False) -> torch.Tensor:
    """Return the rows as (rows, longest), or as long as `length` if that is more."""
    length = max(length, *map(len, rows))
    gaps = [[value] * (length - len(row)) for row in rows]
    pairs = zip(rows, gaps, strict=True)
    return torch.tensor([[*gap, *row] if left else [*row, *gap] for row, gap in pairs])
