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
    Sampling is off, so texts are repeatable. No text is longer than `most_new_tokens` says, so
    that none depends on the prompts beside its own. Raises ValueError as that does.
    """
    inputs = collation.generation_inputs(base, images, prompts)
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    most = [most_new_tokens(base, length, max_new_tokens) for length in lengths]
    if len(set(most)) > 1:
        return _by_room(base, model, images, prompts, most, copies=copies, beams=beams)
    output = model.generate(
        **collation.repeated(on_device(base, inputs), copies),
        num_beams=beams,
        max_new_tokens=most[0],
        do_sample=False,
        custom_generate=decoding.greedy if beams == 1 else None,
    )
    return collation.decode(base, inputs, output)


def most_new_tokens(base: Base, prompt_tokens: int, asked: int) -> int:
    """Return the tokens to write at most behind a prompt of so many, image included.

    Behind its last position a model fails, or writes what it has never learned. Raises ValueError
    as `workers.encoding.collation.room_behind` does.
    """
    return min(asked, collation.room_behind(base, prompt_tokens))


def _by_room(
    base: Base,
    model: Any,
    images: Sequence[Encoded],
    prompts: Sequence[Prompt],
    most: Sequence[int],
    *,
    copies: int,
    beams: int,
) -> list[str]:
    """Return what `generate` does, with a batch for each of the limits `most`, one per image."""
    written: dict[int, str] = {}
    for limit in dict.fromkeys(most):
        chosen = [index for index, own in enumerate(most) if own == limit]
        own = generate(
            base,
            model,
            [images[index] for index in chosen],
            [prompts[index] for index in chosen],
            copies=copies,
            beams=beams,
            max_new_tokens=limit,
        )
        places = [copy * len(images) + index for copy in range(copies) for index in chosen]
        written |= zip(places, own, strict=True)
    return [written[place] for place in range(copies * len(images))]


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
