"""``sweeps space``: a search space in the terminal, with its rules and its size."""

import inspect
import math
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from search_spaces.domains import when_text
from search_spaces.presets import PRESETS
from search_spaces.rules import Feasibility, feasible
from search_spaces.space import Space
from sweeps.spec.checks import feasibility
from sweeps.spec.load import Sweep, read, recipes, unknown

SCARCE = 0.05
"""With a smaller share of allowed points `sweeps plan` warns."""


def show(name: str, console: Console) -> None:
    """Print the space of a preset, a recipe or a sweep file, and why a preset is as it is.

    Raises `sweeps.spec.load.SpecError` for a broken file, FileNotFoundError for an unknown name.
    """
    if name in PRESETS and not Path(name).exists():
        preset = PRESETS[name]()
        print_space(preset.space, feasible(preset.space, preset.rules, {}), console)
        # The reasons are the docstring without its first paragraph.
        reasons = (inspect.getdoc(PRESETS[name]) or "").partition("\n\n")[2]
        console.print("\n" + reasons.replace("``", "`"))
    elif Path(name).exists() or name in recipes():
        show_sweep(read(name, ()), console)
    else:
        raise unknown("file, preset or recipe", name, (*PRESETS, *recipes()))


def show_sweep(sweep: Sweep, console: Console) -> None:
    """Print the space of a sweep, and a warning if its rules leave little of it."""
    found = feasibility(sweep)
    print_space(sweep.search.space, found, console)
    if found.share < SCARCE:
        text = "warning: few points are allowed; narrow the domains to what the rules leave"
        console.print(text, style="yellow")


def print_space(space: Space, found: Feasibility, console: Console) -> None:
    """Print fields with domains and conditions, rules with what they refuse, and the size."""
    table = Table("field", "domain", "only when", box=None, pad_edge=False, header_style="bold")
    for path, domain in space.items():
        table.add_row(path, str(replace(domain, when={})), when_text(domain.when))
    console.print(table)
    console.print()
    shares = {rule: _percent(count / found.points) for rule, count in found.refused.items()}
    lines = [("rule", f"{rule}   (refuses {share})") for rule, share in shares.items()]
    if found.refused:
        how = "" if found.exact else f", by {found.points:,} points drawn at random"
        lines.append(("allowed", f"{_percent(found.share)} of the points{how}"))
    size = f"{space.size():,.0f} points"
    if math.isinf(space.size()):
        size = f"continuous, with {space.combinations():,.0f} combinations of its finite fields"
    for name, value in [*lines, ("size", size)]:
        console.print(Text.assemble((f"{name:<10}", "bold"), f" {value}"), soft_wrap=True)


def _percent(share: float) -> str:
    """Return a share as per cent; only what is nothing or all is written as 0 or 100."""
    digits = 0 if 0.01 <= share <= 0.99 or share in (0, 1) else 1
    return f"{100 * share:.{digits}f} %"
