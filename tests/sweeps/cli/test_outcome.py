"""The leaderboard as the terminal shows it."""

import io

import pytest
from rich.console import Console

from sweeps.board.leaderboard import Leaderboard, Standing
from sweeps.cli.outcome import print_leaderboard, results_option
from sweeps.rung_result import RungResult
from sweeps.spec.objectives import Objective
from sweeps.study.trials import TrialState

STANDINGS = (
    Standing(low=5.9, high=6.1, vs_best="best"),
    Standing(low=5.8, high=6.05, vs_best="tied"),
    None,
)


POINT = {
    "train.learning_rate": 0.00502, "adapter.rank": 16, "adapter.alpha": 8, "quantization": "int8",
}  # fmt: skip


def shown(width, standings=STANDINGS):
    trials = []
    for number in range(len(standings)):
        metrics = {"val/cider": 6.0 - number / 10, "val/meteor": 0.5, "val/loss": 1.25}
        score = metrics["val/cider"]
        rung = RungResult(rung=6, objective=score, best=score, metrics=metrics)
        name = f"trial-{number:03d}"
        trials.append(TrialState(name=name, point=POINT, state="completed", rungs=[rung]))
    board = Leaderboard(
        sweep_id="s-1", objectives=(Objective(metric="cider"),), trials=tuple(trials),
        zero_shot=0.5, images=64 if any(standings) else None,
        standings={f"trial-{n:03d}": each for n, each in enumerate(standings) if each},
    )  # fmt: skip
    written = io.StringIO()
    print_leaderboard(board, Console(file=written, width=width, markup=False, highlight=False))
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
        "not significantly different from trial-000 on these 64 images (paired bootstrap, 95 %): "
        "trial-001",
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
