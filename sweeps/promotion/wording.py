"""A verdict in words and numbers, for the terminal and for the version's page in MLflow."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from sweeps.board.leaderboard import number
from sweeps.promotion.verdict import FEW, Change, Check, Verdict

_COLUMNS = ("score", "challenger", "champion", "gain", "interval", "p", "")
_CHECKS = ("check", "", "measured", "asked")


def headline(verdict: Verdict) -> str:
    """Return the verdict in a sentence."""
    said = "passed" if verdict.passed else "refused"
    gain = verdict.gain
    if gain is None:
        return f"{said}: {verdict.challenger} was not compared with {verdict.champion}"
    return (
        f"{said}: {gain.output} {gain.challenger:.4f} against {gain.champion:.4f} of "
        f"{verdict.champion}, gain {gain.gain:+.4f} ({verdict.confidence * 100:g} % interval "
        f"{gain.low:+.4f} to {gain.high:+.4f}) on {verdict.images} test images"
    )


def remarks(verdict: Verdict) -> list[str]:
    """Return what else must be known to believe the verdict."""
    if verdict.changes and verdict.images < FEW:
        return [
            f"only {verdict.images} test images: intervals of fewer than {FEW} are too narrow to "
            "rely on"
        ]
    return []


def say(verdict: Verdict, console: Console) -> None:
    """Print the verdict, its table, its checks and, when it is a refusal, why."""
    if verdict.changes:
        console.print(_grid(_COLUMNS, [_change_row(change) for change in verdict.changes]))
        console.print()
    console.print(_grid(_CHECKS, [_check_row(check) for check in verdict.checks]))
    for remark in remarks(verdict):
        console.print(remark, style="yellow", soft_wrap=True)
    style = "bold green" if verdict.passed else "bold red"
    console.print(headline(verdict), style=style, soft_wrap=True)
    for reason in verdict.reasons:
        console.print(f"  because of {reason}", soft_wrap=True)


def markdown(verdict: Verdict) -> str:
    """Return the same as markdown."""
    parts = [f"**{headline(verdict)}**"]
    parts += [f"- because of {reason}" for reason in verdict.reasons]
    if verdict.changes:
        parts += ["", *_lines(_COLUMNS, [_change_row(change) for change in verdict.changes])]
    parts += ["", *_lines(_CHECKS, [_check_row(check) for check in verdict.checks])]
    return "\n".join([*parts, *(f"\n{remark}" for remark in remarks(verdict))])


def _change_row(change: Change) -> list[str]:
    return [
        change.output,
        number(change.challenger),
        number(change.champion),
        f"{change.gain:+.4f}",
        f"{change.low:+.4f} to {change.high:+.4f}",
        "<0.001" if change.p < 0.001 else f"{change.p:.3f}",
        _word(change),
    ]


def _word(change: Change) -> str:
    if change.mode is None:
        return "not judged"
    if change.won:
        return "better"
    return "worse" if change.lost else "no significant difference"


def _check_row(check: Check) -> list[str]:
    return [check.name, "passed" if check.passed else "FAILED", check.measured, check.asked]


def _grid(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*row)
    return grid


def _lines(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    top, *below = ["| " + " | ".join(cells) + " |" for cells in (columns, *rows)]
    return [top, "|" + "---|" * len(columns), *below]
