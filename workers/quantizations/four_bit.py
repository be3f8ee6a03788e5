"""4-bit weights of bitsandbytes, in all their kinds."""

import logging
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FourBit:
    """4-bit weights with a scale for each block of 64 of them."""

    kind: str
    """``nf4``, NormalFloat of QLoRA (Dettmers et al. 2023), or ``fp4``, floating point."""
    double: bool
    """Whether the scales are quantized again; otherwise they stay float32."""

    @property
    def bytes_per_weight(self) -> float | None:
        """4 bits and a scale of 8 bits, itself quantized, or of 32 bits for each block of 64."""
        return 0.516 if self.double else 0.5625

    def config(self, dtype: Any, unquantized: list[str] | None = None) -> Any:
        """Return the bitsandbytes config; matrices are multiplied in `dtype`."""
        from transformers import BitsAndBytesConfig

        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=self.kind,
            bnb_4bit_use_double_quant=self.double,
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=unquantized,
        )

    def prepare(self, model: Any) -> None:
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
