"""Captions and answers for images: one batched `generate` for every family."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from workers.encoding import collation
from workers.families.base import Base, Encoded
from workers.families.prompts import Prompt
from workers.features.images import Images


@torch.inference_mode()
def generate(
    base: Base,
    model: Any,
    images: Sequence[Encoded],
    prompts: Sequence[Prompt],
    *,
    beams: int,
    max_new_tokens: int,
) -> list[str]:
    """Return one text per image.

    `model` is `base.model` or the same model with an adapter; it must be in eval mode.
    Sampling is off, so texts are repeatable.
    """
    inputs = collation.generation_inputs(base, images, prompts)
    output = model.generate(
        **collation.on_device(inputs, base.device),
        num_beams=beams,
        max_new_tokens=max_new_tokens,
        do_sample=False,
    )
    return collation.decode(base, inputs, output)


def texts(
    base: Base,
    model: Any,
    pixels: Images,
    prompts: Sequence[Prompt],
    *,
    copies: int = 1,
    beams: int,
    batch_size: int,
    max_new_tokens: int,
    seconds: list[float] | None = None,
) -> Iterator[tuple[str, ...]]:
    """Yield texts for each prompt about the image at its place in `pixels`, batch by batch.

    `copies` texts per prompt, of the adapters that a packed model carries, in order: a batch has
    the images of the first adapter, then the same of the next. The model is put into eval mode.
    The share of one text in the time of its batch, the image encoder's included, is appended to
    `seconds` for each prompt.
    """
    model.eval()
    for start in range(0, len(prompts), batch_size):
        chosen = range(start, min(start + batch_size, len(prompts)))
        spared = pixels.seconds_saved(chosen)
        started = time.perf_counter()
        written = generate(
            base,
            model,
            pixels.of(chosen) * copies,
            [prompts[index] for index in chosen] * copies,
            beams=beams,
            max_new_tokens=max_new_tokens,
        )
        if seconds is not None:
            # A user's image is new: cached features would make it look quicker.
            share = (time.perf_counter() - started) / len(written) + spared / len(chosen)
            seconds += [share] * len(chosen)
        for place in range(len(chosen)):
            yield tuple(written[place :: len(chosen)])
