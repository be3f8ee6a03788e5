"""8-bit weights and activations of bitsandbytes: LLM.int8() (Dettmers et al. 2022)."""

import logging
from typing import Any


class Int8:
    """8-bit weights; each token's activations are quantized by a scale of its own.

    LLM.int8() leaves columns with an activation above a threshold of 6 in 16 bits, chosen by the
    whole batch: one row would decide how others are rounded, and the host would wait in each layer
    for the choice. With a threshold of 0 no column is left out, and rows are independent. The paper
    sees columns that need it from some 6.7 billion weights on.

    For training on a CPU bitsandbytes multiplies by the dequantized weights instead, with
    activations as they are (`MatMul8bitFp`).
    """

    bytes_per_weight: float | None = 1.0

    def config(self, dtype: Any, unquantized: list[str] | None = None) -> Any:
        """Return the bitsandbytes config; inputs of other types are cast by each layer."""
        from transformers import BitsAndBytesConfig

        return BitsAndBytesConfig(
            load_in_8bit=True, llm_int8_threshold=0.0, llm_int8_skip_modules=unquantized
        )

    def prepare(self, model: Any) -> None:
        """Silence bitsandbytes, which logs 'inputs will be cast' at every call of every layer."""
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
