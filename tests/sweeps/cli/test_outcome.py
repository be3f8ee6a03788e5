"""The leaderboard as the terminal shows it."""

import io

import pytest
from rich.console import Console

from sweeps.board.leaderboard import Entry, Leaderboard, Standing
from sweeps.cli.outcome import results_option, say_board

STANDINGS = (
    Standing(low=5.9, high=6.1, vs_best="best"),
    Standing(low=5.8, high=6.05, vs_best="tied"),
    None,
)


def shown(width, standings=STANDINGS):
    entries = [
        Entry(
            trial=f"trial-{number:03d}", title=f"trial-{number:03d} lr0.00502 r16 a8 int8",
            run_id="", state="completed", params={}, rung=6, rungs=6, final={},
            best={"cider": 6.0 - number / 10, "meteor": 0.5, "loss": 1.25}, standing=standing,
        )
        for number, standing in enumerate(standings)
    ]  # fmt: skip
    images = 64 if any(standings) else None
    board = Leaderboard(
        sweep_id="s-1", objective="cider", mode="max", entries=tuple(entries), zero_shot=0.5,
        images=images,
    )  # fmt: skip
    written = io.StringIO()
    say_board(board, Console(file=written, width=width, markup=False, highlight=False))
    return written.getvalue().splitlines()


def test_standings_stand_beside_the_objective_and_the_tied_are_named():
    lines = [" ".join(line.split()) for line in shown(160)]
    title = "lr0.00502 r16 a8 int8 completed"
    assert lines == [
        "trial state cider 95 % interval vs best loss meteor rung",
        f"trial-000 {title} 6.0000 5.9000 to 6.1000 best 1.2500 0.5000 6",
        f"trial-001 {title} 5.9000 5.8000 to 6.0500 tied 1.2500 0.5000 6",
        f"trial-002 {title} 5.8000 1.2500 0.5000 6",
        "zero-shot 0.5000",
        "cannot be told from trial-000 by these 64 images (paired bootstrap, 95 %): trial-001",
    ]


def test_without_standings_the_table_has_no_columns_for_them():
    lines = shown(160, standings=(None, None))
    assert lines[0].split() == ["trial", "state", "cider", "loss", "meteor", "rung"]
    assert lines[-1].startswith("zero-shot")


@pytest.mark.parametrize("width", [70, 80, 100])
def test_no_digit_is_lost_in_a_narrow_terminal(width):
    text = "\n".join(shown(width))
    assert "…" not in text
    assert "5.9000 to 6.1000" in text


def test_commands_name_results_that_are_not_in_the_usual_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert results_option(tmp_path / "sweep-results") == ""
    assert results_option(tmp_path / "my results") == f" --results '{tmp_path}/my results'"
