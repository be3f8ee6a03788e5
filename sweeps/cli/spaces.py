"""``sweeps space``: a search space in the terminal, with its rules and its size."""

import inspect
import math
from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from search_spaces.domains import when_text
from search_spaces.presets import PRESETS
from search_spaces.rules import Feasibility, feasible
from search_spaces.space import Space

if TYPE_CHECKING:
    from sweeps.spec.load import Sweep

SCARCE = 0.05
"""With a smaller share of allowed points `sweeps plan` warns."""


def show(name: str, console: Console) -> None:
    """Print the space of a preset, a recipe or a sweep file, and why a preset is as it is.

    Raises `sweeps.spec.load.SpecError` for a broken file, FileNotFoundError for an unknown name.
    """
    if name in PRESETS and not Path(name).exists():
        preset = PRESETS[name]()
        print_space(preset.space, feasible(preset.space, preset.rules, {}), console)
        console.print(f"\n{_reason(name)}")
    else:
        show_sweep(_read(name), console)


def show_sweep(sweep: "Sweep", console: Console) -> None:
    """Print the space of a sweep, and a warning if its rules leave little of it."""
    from sweeps.spec.rule_checks import feasibility

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
    for name, value in (*_rule_lines(found), ("size", size_text(space))):
        console.print(Text.assemble((f"{name:<10}", "bold"), f" {value}"), soft_wrap=True)


def size_text(space: Space) -> str:
    """Return how many points a space has, in words."""
    size = space.size()
    if size < math.inf:
        return f"{size:,.0f} points"
    return f"continuous, with {space.combinations():,.0f} combinations of its finite fields"


def _rule_lines(found: Feasibility) -> Iterator[tuple[str, str]]:
    for rule, count in found.refused.items():
        yield "rule", f"{rule}   (refuses {_percent(count / found.points)})"
    if found.refused:
        how = "" if found.exact else f", by {found.points:,} points drawn at random"
        yield "allowed", f"{_percent(found.share)} of the points{how}"


def _percent(share: float) -> str:
    """Return a share as per cent; only what is nothing or all is written as 0 or 100."""
    digits = 0 if 0.01 <= share <= 0.99 or share in (0, 1) else 1
    return f"{100 * share:.{digits}f} %"


def _reason(name: str) -> str:
    """Return why a preset is as it is: its docstring without the first paragraph."""
    return (inspect.getdoc(PRESETS[name]) or "").partition("\n\n")[2].replace("``", "`")


def _read(name: str) -> "Sweep":
    from sweeps.spec.files import read, recipes

    if not Path(name).exists() and name not in recipes():
        known = (*PRESETS, *recipes())
        close = get_close_matches(name, known, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise FileNotFoundError(
            f"no file, preset or recipe {name!r}; there are {', '.join(known)}{hint}"
        )
    return read(name, ())
