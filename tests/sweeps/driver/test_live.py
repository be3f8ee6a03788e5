import time
from io import StringIO

import pytest
from rich.console import Console

from sweeps.driver.live import (
    LiveTable,
    PlainLines,
    ailments,
    failures,
    shown_rows,
    status,
    table,
    view,
)
from sweeps.driver.progress import Board


@pytest.fixture
def board():
    """One trial of each state, and one more that runs."""
    made = Board(
        sweep_id="s-1", objective="cider", mode="max", trials=6, epochs=3,
        started=time.monotonic() - 30 * 60,
    )  # fmt: skip
    ends = ["stopped", "completed", "failed", None, None]
    for number, (score, state) in enumerate(zip([0.2, 0.9, None, 0.1, 0.3], ends, strict=True)):
        made.start(number, {"adapter.rank": number})
        made.result(number, {"rung": number, "objective": score, "best": score})
        if state:
            made.end(number, state, "Traceback\nValueError: [oops]" if state == "failed" else None)
    return made


def printed(renderable):
    console = Console(file=StringIO(), width=100)
    console.print(renderable)
    return console.file.getvalue()


def test_running_trials_come_first_then_the_best(board):
    assert [row.number for row in shown_rows(board)] == [4, 3, 1, 0, 2]
    board.mode = "min"
    assert [row.number for row in shown_rows(board)] == [3, 4, 0, 1, 2]


def test_a_long_sweep_shows_the_best_of_those_that_ended(board):
    for number in range(10, 60):
        board.start(number, {})
        board.result(number, {"best": number / 100})
        board.end(number, "completed")
    shown = [row.number for row in shown_rows(board)]
    assert shown[:4] == [4, 3, 1, 59]
    assert len(shown) == 20


def test_the_table_shows_scores_and_each_failure(board):
    text = printed(table(board))
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if "trial-" in line}
    assert rows["trial-001"] == ["r1", "1/3", "0.9000", "0.9000", "completed"]
    assert rows["trial-004"] == ["r4", "4/3", "0.3000", "0.3000", "running"]
    assert "trial-002 r2: ValueError: [oops]" in text
    assert text.splitlines()[0] == status(board)


def test_symptoms_are_shown_while_the_trial_runs_and_the_guards_reason_at_its_end(board):
    symptom = "97 % of 120 images got the same caption 'a a'"
    said = f"rung 2: {symptom}"
    board.result(3, {"rung": 2, "objective": 0.1, "best": 0.1, "symptoms": [symptom]})
    assert f"trial-003 r3: {said}" in printed(table(board))
    lines = []
    PlainLines(board, lines.append).changed(board.rows[3])
    board.end(3, "failed-by-guard", said)
    PlainLines(board, lines.append).changed(board.rows[3])
    assert lines == [
        f"trial-003 r3  rung 2/3 cider 0.1000  running: {symptom}",
        f"trial-003 r3  rung 2/3 cider 0.1000  failed-by-guard: {said}",
    ]
    assert ailments(board) == []
    assert failures(board)[-1] == f"trial-003 r3: {said}"
    assert "failed-by-guard" in printed(table(board))


def test_an_empty_board_can_be_shown():
    board = Board(sweep_id="s-1", objective="cider", mode="max", trials=2, epochs=3)
    assert status(board) == "s-1: 0/2 trials"
    assert "cider" in printed(table(board))


def test_the_status_sums_the_sweep_up(board):
    assert status(board) == (
        "s-1: 3/6 trials, best cider 0.9000 (trial-001), 0.1 trials/min, about 30.0 min left"
    )


def test_a_sweep_at_its_end_has_no_time_left(board):
    board.trials = 3
    assert "trials/min" in status(board)
    assert "min left" not in status(board)


def test_without_a_terminal_each_change_is_a_line(board):
    lines = []
    with PlainLines(board, lines.append) as screen:
        screen.changed(board.rows[1])
        screen.changed(board.rows[2])
    assert lines[:2] == [
        "trial-001 r1  rung 1/3 cider 0.9000  completed",
        "trial-002 r2  rung 2/3  failed: ValueError: [oops]",
    ]
    assert lines[2:] == [status(board)]


def test_the_console_decides_the_view(board):
    console = Console(file=StringIO(), force_terminal=True, width=100)
    with view(board, console) as screen:
        assert isinstance(screen, LiveTable)
        board.end(3, "completed")
        screen.changed(board.rows[3])
    assert "4/6 trials" in console.file.getvalue()
    assert isinstance(view(board, Console(file=StringIO())), PlainLines)


def test_an_error_is_not_read_as_markup(board):
    console = Console(file=StringIO(), width=40)
    board.end(2, "failed", "ValueError: the template has no [/INST] after [INST]")
    view(board, console).changed(board.rows[2])
    assert console.file.getvalue().endswith("the template has no [/INST] after [INST]\n")
