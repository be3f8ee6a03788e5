"""Parts of a vision-language model, told by the names that transformers gives their modules."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Literal, get_args

from workers.recipe import Train

Part = Literal["vision", "projector", "language"]

_LANGUAGE = re.compile(r"language_model|text_model")
_PROJECTOR = re.compile(
    r"\w*projectors?|\w+_projection|connector|aligner|qformer|\w*resampler\w*|\w*merger(_list)?"
    r"|embed_vision|vision_adapter"
)
_VISION = re.compile(r"vision\w*|visual\w*|(image|video)_(encoder|tower)|vqmodel")


@cache
def part_of(path: str) -> Part:
    """Return the part to which the module at `path` belongs.

    A projector is all between image encoder and language model, such as a Q-Former, also where it
    is a module of the encoder (Qwen's ``visual.merger``).
    """
    names = path.split(".")
    if any(_LANGUAGE.fullmatch(name) for name in names):
        return "language"  # Gemma 4 has projections of its own in there
    if any(_PROJECTOR.fullmatch(name) for name in names):
        return "projector"
    return "vision" if any(_VISION.fullmatch(name) for name in names) else "language"


def learning_rate_of(part: Part, train: Train) -> float:
    """Return the learning rate of adapters in a part, at its peak."""
    own = {"vision": train.vision_learning_rate, "projector": train.projector_learning_rate}
    return own.get(part) or train.learning_rate


def check_learning_rates(train: Train, layers: Sequence[str]) -> None:
    """Raise ValueError, naming the field, for the rate of a part that has none of these layers."""
    adapted = {part_of(path) for path in layers}
    for part in get_args(Part):
        field = f"{part}_learning_rate"
        if getattr(train, field, None) is not None and part not in adapted:
            raise ValueError(
                f"train.{field} must be null where adapter.targets has no layer of the {part}, "
                f"got {getattr(train, field):g}; the adapted layers belong to: "
                f"{', '.join(sorted(adapted))}"
            )
