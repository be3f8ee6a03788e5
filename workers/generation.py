"""Captions for images: one batched `generate` for every family."""

from typing import Any

import torch

from workers.models import Base


@torch.inference_mode()
def generate(
    base: Base, model: Any, pixels: torch.Tensor, *, beams: int, max_new_tokens: int
) -> list[str]:
    """Return one caption per image.

    `pixels` is (batch, channels, height, width). `model` is `base.model` or the same model
    with an adapter; it must be in eval mode. Sampling is off, so captions are repeatable.
    """
    inputs = base.family.generation_inputs(base.processor, pixels)
    output = model.generate(
        **{name: tensor.to(base.device) for name, tensor in inputs.items()},
        num_beams=beams,
        max_new_tokens=max_new_tokens,
        do_sample=False,
    )
    return base.family.decode(base.processor, inputs, output)
