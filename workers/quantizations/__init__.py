"""How the frozen base is stored: one file and one line here per quantization.

Each module offers `BYTES_PER_WEIGHT` (of the quantized layers, for estimates),
`config(dtype)` (what transformers' ``from_pretrained`` takes, or None),
`prepare(model)`, called once after loading, and `why_rows_mix(device, training=)`, which
decides what trials do together. Importing them is cheap.
"""

from importlib import import_module
from typing import Any, Protocol, cast

MODULES = {
    "none": "workers.quantizations.none",
    "int8": "workers.quantizations.int8",
    "nf4": "workers.quantizations.nf4",
    "nf4-single": "workers.quantizations.nf4_single",
    "fp4": "workers.quantizations.fp4",
    "fp4-single": "workers.quantizations.fp4_single",
}
NAMES = tuple(MODULES)


class Quantization(Protocol):
    """What a module of this package offers."""

    BYTES_PER_WEIGHT: float | None

    def config(self, dtype: Any) -> Any:
        """Return the quantization config for `from_pretrained`; `dtype` is the compute type."""

    def prepare(self, model: Any) -> None:
        """Correct what the loaded model needs before it trains."""

    def why_rows_mix(self, device: str, *, training: bool) -> str | None:
        """Return why rows of a batch change each other's outputs on a ``cpu`` or ``cuda``.

        None where they do not: then trials can share a batch, in training or in evaluation.
        """


def get(name: str) -> Quantization:
    """Return the quantization called `name`; raises KeyError for an unknown one."""
    return cast(Quantization, import_module(MODULES[name]))
