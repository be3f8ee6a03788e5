"""Fields of a recipe that do not go together, known without loading anything."""

from workers.recipe import QUESTION, Recipe

Conflict = tuple[str, str]
"""(dotted field, what it must be and why)."""


def conflicts(recipe: Recipe) -> list[Conflict]:
    """Return what this recipe requests and cannot have; empty for a valid one."""
    found: list[Conflict] = []
    adapter, quantization, text = recipe.adapter, recipe.quantization, recipe.prompt.text
    least, most = recipe.model.min_pixels, recipe.model.max_pixels
    if least is not None and most is not None and least > most:
        found += [("model.min_pixels", f"must be at most model.max_pixels, {most}, got {least}")]
    if adapter.init == "orthogonal" and adapter.rank % 2:
        found += [("adapter.rank", f"must be even with init orthogonal, got {adapter.rank}")]
    if adapter.init == "orthogonal" and quantization != "none":
        must = (
            f"must be default or gaussian with quantization {quantization}: peft gives "
            "orthogonal weights the type of the base's, which is no number to train"
        )
        found += [("adapter.init", must)]
    if adapter.init == "mica" and quantization != "none":
        must = (
            f"must be default or gaussian with quantization {quantization}: mica decomposes the "
            "base's weights, which are stored as no numbers"
        )
        found += [("adapter.init", must)]
    if adapter.init == "mica" and adapter.variant == "dora":
        found += [
            ("adapter.variant", "must be lora or rslora with init mica, which trains A alone")
        ]
    if adapter.variant == "dora" and quantization == "int8":
        must = (
            "must be lora or rslora with quantization int8: dora reads the base's weights, whose "
            "scales bitsandbytes moves away when an int8 layer first runs"
        )
        found += [("adapter.variant", must)]
    if recipe.task == "vqa" and text is not None and QUESTION not in text:
        must = f"must contain {QUESTION} in task vqa, or nothing asks it; got {text!r}"
        found += [("prompt.text", must)]
    if recipe.task == "captioning" and text is not None and QUESTION in text:
        must = f"must not contain {QUESTION} in task captioning, which has none"
        found += [("prompt.text", must)]
    if len(set(adapter.trained_modules)) < len(adapter.trained_modules):
        found += [("adapter.trained_modules", "must be paths without repeats")]
    return found
