"""Which fields of a recipe do not go together, known without loading anything."""

from collections.abc import Callable, Iterator

from workers.recipe import QUESTION, Recipe

Conflict = tuple[str, str]
"""(dotted field, what it must be and why)."""


def conflicts(recipe: Recipe) -> list[Conflict]:
    """Return what this recipe requests and cannot have; empty for a valid one."""
    return [conflict for check in _CHECKS for conflict in check(recipe)]


def _orthogonal(recipe: Recipe) -> Iterator[Conflict]:
    if recipe.adapter.init != "orthogonal":
        return
    if recipe.adapter.rank % 2:
        yield "adapter.rank", f"must be even with init orthogonal, got {recipe.adapter.rank}"
    if recipe.quantization != "none":
        yield (
            "adapter.init",
            f"must be default or gaussian with quantization {recipe.quantization}: peft gives "
            "orthogonal weights the type of the base's, which is no number to train",
        )


def _dora(recipe: Recipe) -> Iterator[Conflict]:
    if recipe.adapter.variant == "dora" and recipe.quantization == "int8":
        yield (
            "adapter.variant",
            "must be lora or rslora with quantization int8: dora reads the base's weights, whose "
            "scales bitsandbytes moves away when an int8 layer first runs",
        )


def _question(recipe: Recipe) -> Iterator[Conflict]:
    text = recipe.prompt.text
    if recipe.task == "vqa" and text is not None and QUESTION not in text:
        yield (
            "prompt.text",
            f"must contain {QUESTION} in task vqa, or nothing asks it; got {text!r}",
        )
    if recipe.task == "captioning" and text is not None and QUESTION in text:
        yield "prompt.text", f"must not contain {QUESTION} in task captioning, which has none"


def _repeated_modules(recipe: Recipe) -> Iterator[Conflict]:
    repeated = len(set(recipe.adapter.trained_modules)) < len(recipe.adapter.trained_modules)
    if repeated:
        yield "adapter.trained_modules", "must be paths without repeats"


_CHECKS: tuple[Callable[[Recipe], Iterator[Conflict]], ...] = (
    _orthogonal,
    _dora,
    _question,
    _repeated_modules,
)
