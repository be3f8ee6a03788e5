"""4-bit weights of bitsandbytes, in all their kinds."""

import logging
from typing import Any


def config(kind: str, dtype: Any, *, double: bool) -> Any:
    """Return the bitsandbytes config; matrices are multiplied in `dtype`.

    With `double`, the scales of the blocks are quantized, too.
    """
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=kind,
        bnb_4bit_use_double_quant=double,
        bnb_4bit_compute_dtype=dtype,
    )


def prepare(model: Any) -> None:
    """Keep bitsandbytes from repacking 4-bit weights on CPUs with AVX512-BF16.

    In eval mode `Linear4bit` repacks its weights in place into a format for inference only:
    the next training step raises, or silently trains without gradients. A trial that is
    scored at each rung does exactly that. The branch exists on CPUs only.
    """
    import bitsandbytes as bnb

    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    for module in model.modules():
        if isinstance(module, bnb.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False


def why_rows_mix(device: str, *, training: bool) -> str | None:
    """Return None: only the weights are quantized."""
    return None
