"""Presets: functions that return a ready search space, one line in `PRESETS` each."""

from collections.abc import Callable, Mapping

from search_spaces.domains import Choice, LogUniform
from search_spaces.space import Space


def lora() -> Space:
    """Return the space of rank and learning rate.

    Alpha is not searched and stays as the recipe has it: the update is ``alpha / rank * B A``,
    so alpha and the learning rate scale the same thing, and searching both spends trials on
    points that differ in name only. With alpha fixed the best learning rate hardly depends on
    the rank; with ``alpha / rank`` fixed it falls as the rank grows, which would tie the two
    dimensions together.
    """
    return Space(
        {
            "adapter.rank": Choice((4, 8, 16, 32)),
            "train.learning_rate": LogUniform(1e-5, 1e-3),
        }
    )


def qlora() -> Space:
    """Return the space of `lora` and how the base is stored: plain, in 8 or in 4 bits."""
    return Space({**lora(), "quantization": Choice(("none", "int8", "nf4"))})


PRESETS: Mapping[str, Callable[[], Space]] = {
    "lora": lora,
    "qlora": qlora,
}
