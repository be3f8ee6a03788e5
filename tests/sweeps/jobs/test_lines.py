import io

from rich.console import Console

from sweeps.driver.live import PlainLines
from sweeps.driver.progress import Board
from sweeps.jobs.lines import board_of, take

METADATA = {
    "sweep": "shapes", "objective": "val/loss", "mode": "min", "trials": "4", "epochs": "3",
}  # fmt: skip
POINT = {"train.learning_rate": 3e-4, "quantization": "nf4"}


def driven(board, write):
    """Tell a board and its plain lines what happens to four trials."""
    screen = PlainLines(board, write)
    for number in range(4):
        board.start(number, POINT)
        screen.changed(board.result(number, {"rung": 1, "objective": 2.0 - number, "best": 9.0}))
    screen.changed(board.result(0, {"rung": 2, "objective": 2.5, "symptoms": ["odd: all alike"]}))
    screen.changed(board.end(0, "completed"))
    screen.changed(board.end(1, "failed", "Traceback\n  more\nValueError: no [/INST]  rung 1/1"))
    screen.changed(board.end(2, "failed-by-guard", "one caption for all"))


def test_the_drivers_own_lines_give_the_drivers_board():
    lines = []
    driver = board_of(METADATA)
    driven(driver, lines.append)
    read = board_of(METADATA)
    assert all(take(read, line) for line in lines)
    assert [vars(row) for row in read.rows.values()] == [
        {**vars(row), "best": best, "error": error, "symptoms": ""}
        for row, best, error in zip(
            driver.rows.values(),
            [2.0, 1.0, 0.0, -1.0],
            [None, "ValueError: no [/INST]  rung 1/1", "one caption for all", None],
            strict=True,
        )
    ]
    assert (read.best.number, read.ended) == (3, 3)


def test_symptoms_of_a_running_trial_are_kept():
    read = board_of(METADATA)
    assert take(read, "trial-007 lr0.1  rung 2/3 val/loss 0.5000  running: all captions alike")
    assert read.rows[7].symptoms == "all captions alike"
    assert read.rows[7].error is None


def test_other_lines_are_for_the_reader():
    read = board_of(METADATA)
    for line in ["", "trial-001", "trial-001  0.5  0.6", "warning: rung 1/3 is late", "done"]:
        assert not take(read, line)
    assert read.rows == {}


def test_the_line_that_begins_a_sweep_names_it():
    read = board_of(METADATA)
    assert not take(read, "shapes-12 in /shared/sweep-results/shapes-12")
    assert read.sweep_id == "shapes-12"
    assert not take(read, "others-3 in /shared/sweep-results/others-3")
    assert read.sweep_id == "shapes-12"


def test_a_job_of_another_kind_has_no_board():
    assert board_of({"sweep": "shapes"}) is None
    assert board_of({**METADATA, "trials": "many"}) is None


def test_plain_lines_stay_whole_in_a_narrow_log():
    """The driver's console does not wrap them, or nobody could read them back."""
    out = io.StringIO()
    console = Console(file=out, width=40)
    driven(
        Board(sweep_id="shapes", objective="val/loss", mode="min", trials=4, epochs=3),
        lambda line: console.print(line, markup=False, soft_wrap=True),
    )
    read = board_of(METADATA)
    assert all(take(read, line) for line in out.getvalue().splitlines())
    assert len(read.rows) == 4
