"""The driver's plain lines about its trials, read back into what the live table shows.

A job's log is all that Ray hands out, and it is for people: nothing is written into it for
machines. The lines are those of `sweeps.driver.live.PlainLines`; a test holds both together.
"""

import re
from collections.abc import Mapping

from sweeps.driver.progress import STATES, Board
from sweeps.trial import trial_number

_TRIAL = re.compile(
    r"(?P<title>(?P<trial>trial-\d+)\b.*?)  rung (?P<rung>\d+)/\d+"
    r"(?: \S+ (?P<value>-?\d+\.\d+|nan|inf|-inf))?"
    rf"  (?P<state>{'|'.join(sorted(STATES, key=len, reverse=True))})(?:: (?P<why>.*))?"
)
_BEGUN = re.compile(r"(?P<sweep>\S+) in /.*")


def board_of(metadata: Mapping[str, str]) -> Board | None:
    """Return an empty board for a job, by its metadata; None where that does not say."""
    try:
        return Board(
            sweep_id=metadata["sweep"], objective=metadata["objective"], mode=metadata["mode"],
            trials=int(metadata["trials"]), epochs=int(metadata["epochs"]),
        )  # fmt: skip
    except (KeyError, ValueError):
        return None


def take(board: Board, line: str) -> bool:
    """Put what a line says of a trial on the board; return False for any other line."""
    found = _TRIAL.fullmatch(line)
    if found is None:
        begun = _BEGUN.fullmatch(line)
        if begun and begun["sweep"].startswith(f"{board.sweep_id}-"):
            board.sweep_id = begun["sweep"]
        return False
    number = trial_number(found["trial"])
    row = board.start(number, {})
    row.title, row.rung = found["title"], int(found["rung"])
    if found["value"] is not None:
        row.objective = float(found["value"])
        row.best = _better(board.mode, row.best, row.objective)
    over = found["state"] != "running"
    board.end(number, found["state"], found["why"] if "failed" in found["state"] else None)
    row.symptoms = "" if over else found["why"] or ""
    return True


def _better(mode: str, one: float | None, other: float) -> float:
    choose = max if mode == "max" else min
    return other if one is None or one != one else choose(one, other)
