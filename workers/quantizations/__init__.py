"""How the frozen base is stored: a class per kind of storage and one line here per quantization.

Importing them is cheap: bitsandbytes and transformers are imported where they are used.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from workers.quantizations.four_bit import FourBit
from workers.quantizations.int8 import Int8
from workers.quantizations.none import Unquantized


class Quantization(Protocol):
    """What decides how a base is loaded.

    The rows of a batch must not change each other's outputs: trials share batches.
    """

    @property
    def bytes_per_weight(self) -> float | None:
        """Bytes per weight of the quantized layers; None where the compute type decides."""

    def config(self, dtype: Any, unquantized: list[str] | None = None) -> Any:
        """Return the quantization config for `from_pretrained`.

        `dtype` is the compute type, `unquantized` names the modules to leave alone, for None those
        that transformers leaves alone.
        """

    def prepare(self, model: Any) -> None:
        """Correct what the loaded model needs before it trains."""


QUANTIZATIONS: Mapping[str, Quantization] = {
    "none": Unquantized(),
    "int8": Int8(),
    "nf4": FourBit("nf4", double=True),
    "nf4-single": FourBit("nf4", double=False),
    "fp4": FourBit("fp4", double=True),
    "fp4-single": FourBit("fp4", double=False),
}
NAMES = tuple(QUANTIZATIONS)


def get(name: str) -> Quantization:
    """Return the quantization called `name`; raises KeyError for an unknown one."""
    return QUANTIZATIONS[name]
