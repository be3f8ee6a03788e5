"""LLM.int8() of bitsandbytes (Dettmers et al. 2022): 8-bit weights and activations."""

import logging
from typing import Any


class Int8:
    """8-bit weights, and 8-bit activations but for outlier columns."""

    bytes_per_weight: float | None = 1.0

    def config(self, dtype: Any) -> Any:
        """Return the bitsandbytes config; inputs of other types are cast by each layer."""
        from transformers import BitsAndBytesConfig

        return BitsAndBytesConfig(load_in_8bit=True)

    def prepare(self, model: Any) -> None:
        """Silence bitsandbytes, which logs 'inputs will be cast' at every call of every layer."""
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

    def why_rows_mix(self, device: str, *, training: bool) -> str | None:
        """Return the reason, but for training on a CPU.

        There bitsandbytes multiplies by the dequantized weights (`MatMul8bitFp`), row by row.
        """
        if device == "cpu" and training:
            return None
        return "the outlier columns of LLM.int8() come from the whole batch"
