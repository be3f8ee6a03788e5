"""The card of an exported adapter: its README.md, as hubs and people read it."""

from collections.abc import Sequence
from pathlib import Path

from workers.files.atomic import atomic_write
from workers.recipe import Adapter

CARD = "README.md"
_CARD = """\
---
library_name: peft
tags: [lora]
---
# LoRA adapter of {base}

{adapter.variant} of rank {adapter.rank}, alpha {adapter.alpha:g}, on {layers} layers
(`adapter.targets`: `{adapter.targets}`), of a base stored as `quantization: {quantization}`. Load
it with plain peft:

    base = AutoModelForImageTextToText.from_pretrained({base!r})
    model = PeftModel.from_pretrained(base, "this folder")
"""
_TIED = """
## Do not merge it

It trains {paths}, which share one weight. Loaded as above, it is right. Merged
(`merge_and_unload`), what was learned for the words that are written also changes the words that
are read, or is lost when the merged model is saved.
"""


def write(
    folder: Path,
    adapter: Adapter,
    *,
    base: str,
    quantization: str,
    layers: int,
    tied: Sequence[str],
) -> None:
    """Write the card of an adapter on so many layers; `tied` see `workers.models.targets`."""
    text = _CARD.format(base=base, adapter=adapter, layers=layers, quantization=quantization)
    if tied:
        text += _TIED.format(paths=" and ".join(f"`{path}`" for path in tied))
    atomic_write(folder / CARD, text)
