"""The description of one metric: what it yields, and the function that computes it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Literal

Captions = Mapping[str, list[str]]
"""Image id -> captions. As candidates, each image has exactly one."""

Compute = Callable[[Captions, Captions], dict[str, float]]
"""(references, candidates) -> output -> value over all images. Both have the same images in the
same order and every image has a reference. References as tokens have a word each; as text one may
be empty, which says that the question has no answer."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric; describing it costs nothing, `compute` imports what it needs when called."""

    name: str
    outputs: tuple[str, ...]
    """Keys of the values that `compute` returns."""
    compute: Compute = field(repr=False)
    reads: Literal["tokens", "text"] = "tokens"
    """What `compute` takes: PTB tokens joined by spaces, or texts as they were written."""
    tasks: tuple[str, ...] = ("captioning",)
    direction: Literal["max", "min"] = "max"
    """Which way is better."""
    low: float = 0.0
    """Smallest possible value of each output."""
    high: float = 1.0
    """Largest possible value of each output."""
    session: Callable[[], AbstractContextManager[None]] = field(default=nullcontext, repr=False)
    """Holds what `compute` needs running between calls; entering does not wait for it."""
