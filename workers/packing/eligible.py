"""Which trials can share one forward and backward with others."""

from workers.recipe import Recipe


def reason_not_packed(recipe: Recipe) -> str | None:
    """Return why a trial must train alone; None for one that can be packed."""
    if recipe.quantization == "int8":
        return "the outlier columns of LLM.int8() come from the whole batch"
    if recipe.adapter.variant == "dora":
        return "DoRA norms the whole weight of each trial"
    if recipe.adapter.bias != "none":
        return "trained biases belong to the shared layers of the base"
    if recipe.adapter.trained_modules:
        return "trained modules are whole copies of modules of the base"
    return None
