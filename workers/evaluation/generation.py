"""Captions and answers for images: one batched `generate` for every family."""

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from workers.encoding import collation
from workers.encoding.collation import on_device
from workers.evaluation import decoding
from workers.families.base import Base, Encoded
from workers.families.prompts import Prompt
from workers.features.images import Images
from workers.measures import forget_peak_memory
from workers.memory import errors


@torch.inference_mode()
def generate(
    base: Base,
    model: Any,
    images: Sequence[Encoded],
    prompts: Sequence[Prompt],
    *,
    copies: int = 1,
    beams: int,
    max_new_tokens: int,
) -> list[str]:
    """Return one text per image, `copies` times over: of each adapter that a packed model carries.

    `model` is `base.model` or the same model with adapters; it must be in eval mode.
    Sampling is off, so texts are repeatable.
    """
    inputs = collation.generation_inputs(base, images, prompts)
    output = model.generate(
        **{key: _copied(own, copies) for key, own in on_device(base, inputs).items()},
        num_beams=beams,
        max_new_tokens=max_new_tokens,
        do_sample=False,
        custom_generate=decoding.greedy if beams == 1 else None,
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
    order: Sequence[int] = (),
    seconds: list[list[float]] | None = None,
) -> Iterator[tuple[str, ...]]:
    """Yield texts for each prompt about the image at its place in `pixels`, in their order.

    `copies` texts per prompt, of the adapters that a packed model carries, in order: a batch has
    the images of the first adapter, then the same of the next. The model is put into eval mode.
    When memory runs out, batches have half of the images from then on.

    Args:
        order: all places in the order in which batches take them; else their own.
        seconds: gets for each batch each image's share of its time, with that of its features.
    """
    model.eval()
    order = order or range(len(prompts))
    written: dict[int, tuple[str, ...]] = {}
    start = following = 0
    while start < len(order):
        chosen = order[start : start + batch_size]
        spared = pixels.seconds_saved(chosen)
        started = time.perf_counter()
        try:
            own = generate(
                base,
                model,
                pixels.of(chosen),
                [prompts[index] for index in chosen],
                copies=copies,
                beams=beams,
                max_new_tokens=max_new_tokens,
            )
        except Exception as error:
            if len(chosen) == 1 or not errors.is_out_of_memory(error):
                raise
            own = []
        if not own:  # here no frame holds what did not fit any more
            errors.release()
            forget_peak_memory(base.device)  # it is to be known for the batches that fit
            batch_size = math.ceil(len(chosen) / 2)
            continue
        if seconds is not None:
            # A user's image is new: cached features would make it look quicker.
            share = (time.perf_counter() - started) / len(own) + spared / len(chosen)
            seconds.append([share] * len(chosen))
        start += len(chosen)
        written |= {index: tuple(own[at :: len(chosen)]) for at, index in enumerate(chosen)}
        while following in written:
            yield written.pop(following)
            following += 1


def _copied(tensor: torch.Tensor, copies: int) -> torch.Tensor:
    """Return the tensor so many times over, along its first axis."""
    return tensor if copies == 1 else tensor.repeat(copies, *[1] * (tensor.dim() - 1))
