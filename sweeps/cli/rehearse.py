"""``sweeps run --rehearse``: look at everything, say what was found, run the small sweep."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from sweeps.cli.rehearsal import names_layers, rehearsal
from sweeps.quiet import quiet_libraries
from sweeps.spec.load import Sweep
from workers.tiny import stand_in
from workers.tiny.stand_in import StandIn

if TYPE_CHECKING:
    from workers.evaluation.inspection import Inspection

BASES = "rehearsal-bases"
"""Folder of the stand-ins, among the results: on a cluster all nodes must see it."""
_SHOWN = 2  # pairs that are printed
_PROBLEMS = 10  # lines of problems that are printed


def rehearse(sweep: Sweep, results: Path, console: Console) -> int:
    """Rehearse a sweep and return the exit code of the command, above 0 for anything to fix.

    Raises ValueError or OSError for what a user can fix, naming the field.
    """
    from sweeps.cli.outcome import COMPLETED, NO_WINNER, finish

    quiet_libraries()
    from workers.evaluation.inspection import (
        inspect,  # peft comes with it, and talks unless told before
    )

    base = stand_in.make(
        sweep.model.base,
        sweep.model.revision,
        results.absolute() / BASES,
        deep=names_layers(sweep),
    )
    small = rehearsal(sweep, base.base)
    found = inspect(small.recipe, small.swept("quantization", small.quantization))
    for name, value in _lines(sweep, base, found):
        console.print(Text.assemble((f"{name:<10}", "bold"), f" {value}"), soft_wrap=True)
    console.print()
    code = finish(small, results, None, console)
    faults = faults_of(sweep, found)
    console.print(_verdict(sweep, faults, code), style="green" if not (faults or code) else "red")
    for fault in faults:
        console.print(f"  {fault}", soft_wrap=True)
    return NO_WINNER if code == COMPLETED and faults else code


def faults_of(sweep: Sweep, found: "Inspection") -> list[str]:
    """Return what would end or spoil the sweep itself."""
    faults = [f"quantization {name}: {why}" for name, why in found.quantizations.items() if why]
    if found.problems and sweep.data.on_bad_sample == "error":
        count = len(found.problems)
        faults.append(
            f"data: {count} problem{'s' if count > 1 else ''}, which the sweep will refuse; "
            "fix them, or leave them out with data.on_bad_sample: skip"
        )
    return faults


def _lines(sweep: Sweep, base: StandIn, found: "Inspection") -> Iterator[tuple[str, str]]:
    """Yield what is printed before the trials start, as (heading, text)."""
    from sweeps.cli.plan import memory_note

    yield "stand-in", base.origin
    counts = ", ".join(f"{count} {split}" for split, count in found.images.items())
    yield "images", f"{counts}; any others are not looked at"
    for problem in found.problems[:_PROBLEMS] or ("none",):
        yield "problems", problem
    if len(found.problems) > _PROBLEMS:
        yield "", f"... and {len(found.problems) - _PROBLEMS} more"
    yield "labels", _coverage(found)
    yield "truncated", _truncated(found, exact=base.exact)
    yield "tokens", _tokens(found)
    for pair in found.pairs[:_SHOWN]:
        yield "example", pair.id
        yield "  prompt", repr(pair.prompt)[1:-1]
        yield "  target", repr(pair.target)[1:-1]
    for name, why in found.quantizations.items():
        yield "base", f"{name}: {why or 'loads and trains a step'}"
    yield "memory", f"of the sweep itself, {memory_note(sweep)}"


def _coverage(found: "Inspection") -> str:
    shares = [pair.coverage for pair in found.pairs]
    return (
        f"of {len(shares)} targets {sum(shares) / len(shares):.1%} of the tokens are learned, "
        f"of the worst one {min(shares):.1%}; prompt, image and padding are not"
    )


def _truncated(found: "Inspection", *, exact: bool) -> str:
    whose = "" if exact else ", which are the stand-in's own"
    cut = ", ".join(found.truncated[:3]) + (", ..." if len(found.truncated) > 3 else "")
    return f"{len(found.truncated)} at {found.positions} positions{whose}" + (
        f": {cut}" if cut else ""
    )


def _tokens(found: "Inspection") -> str:
    def longest(field: str) -> int:
        return max(int(getattr(pair, field)) for pair in found.pairs)

    return (
        f"prompts of up to {longest('prompt_tokens')}, with those of the image if it has any; "
        f"targets of up to {longest('target_tokens')}, with the end of text"
    )


def _verdict(sweep: Sweep, faults: list[str], code: int) -> str:
    if faults:
        return f"rehearsal of {sweep.name}: to fix before the sweep"
    if code:
        return f"rehearsal of {sweep.name}: did not end well, see above"
    return f"rehearsal of {sweep.name}: data, prompts, labels, metrics and tracking work"
