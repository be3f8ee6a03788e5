"""Which trials can be trained in a pack, and why the others cannot.

What a trial computes in a pack must be what it computes alone. This module imports nothing heavy:
a sweep file is checked against it.
"""

from workers.recipe import Recipe


def reason_not_packed(recipe: Recipe) -> str | None:
    """Return why a trial must train alone, in words that follow its name; None for a pack."""
    adapter = recipe.adapter
    if recipe.quantization == "int8":
        return "int8 chooses the columns that it keeps in 16 bits by the whole batch"
    if adapter.variant == "dora":
        return "DoRA needs the norms of each trial's own merged weights"
    if adapter.bias != "none":
        return f"adapter.bias {adapter.bias} trains biases of the base, which a pack shares"
    if adapter.trained_modules:
        return "adapter.trained_modules are trained as whole copies"
    return None
