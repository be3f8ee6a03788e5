import time
from io import StringIO

import pytest
from rich.console import Console

from sweeps.driver.live import (
    Events,
    LiveTable,
    PlainLines,
    failures,
    shown_trials,
    summary,
    table,
    view,
    warnings,
)
from sweeps.driver.progress import Progress
from sweeps.rung_result import RungResult
from sweeps.spec.objectives import Objective


@pytest.fixture
def progress():
    """One trial of each state, and one more that runs."""
    made = Progress(
        sweep_id="s-1", objectives=(Objective(metric="cider"),), wanted=6, epochs=3,
        started=time.monotonic() - 30 * 60,
    )  # fmt: skip
    ends = ["stopped", "completed", "failed", None, None]
    for number, (score, state) in enumerate(zip([0.2, 0.9, None, 0.1, 0.3], ends, strict=True)):
        made.start(number, {"adapter.rank": number})
        made.result(number, RungResult(rung=number, objective=score, best=score))
        if state:
            made.end(number, state, "Traceback\nValueError: [oops]" if state == "failed" else None)
    return made


def numbers(trials):
    return [int(trial.name[-3:]) for trial in trials]


def printed(renderable):
    console = Console(file=StringIO(), width=100)
    console.print(renderable)
    return console.file.getvalue()


def test_running_trials_come_first_then_the_best(progress):
    assert numbers(shown_trials(progress)) == [4, 3, 1, 0, 2]
    progress.objectives = (Objective(metric="cider", mode="min"),)
    assert numbers(shown_trials(progress)) == [3, 4, 0, 1, 2]


def test_a_long_sweep_shows_the_best_of_those_that_ended(progress):
    for number in range(10, 60):
        progress.start(number, {})
        progress.result(number, RungResult(rung=1, objective=number / 100, best=number / 100))
        progress.end(number, "completed")
    shown = numbers(shown_trials(progress))
    assert shown[:4] == [4, 3, 1, 59]
    assert len(shown) == 20


def test_the_table_shows_scores_and_each_failure(progress):
    text = printed(table(progress))
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if "trial-" in line}
    assert rows["trial-001"] == ["r1", "1/3", "0.9000", "0.9000", "completed"]
    assert rows["trial-004"] == ["r4", "4/3", "0.3000", "0.3000", "running"]
    assert "trial-002 r2: ValueError: [oops]" in text
    assert text.splitlines()[0] == summary(progress)


def test_symptoms_are_shown_while_the_trial_runs_and_the_guards_reason_at_its_end(progress):
    symptom = "97 % of 120 images got the same caption 'a a'"
    said = f"rung 2: {symptom}"
    progress.result(3, RungResult(rung=2, objective=0.1, best=0.1, symptoms=(symptom,)))
    assert f"trial-003 r3: {said}" in printed(table(progress))
    lines = []
    PlainLines(progress, lines.append).changed(progress.trials["trial-003"])
    progress.end(3, "failed-by-guard", said)
    PlainLines(progress, lines.append).changed(progress.trials["trial-003"])
    assert lines == [
        f"trial-003 r3  rung 2/3 cider 0.1000  running: {symptom}",
        f"trial-003 r3  rung 2/3 cider 0.1000  failed-by-guard: {said}",
    ]
    assert warnings(progress) == []
    assert failures(progress)[-1] == f"trial-003 r3: {said}"
    assert "failed-by-guard" in printed(table(progress))


def test_an_empty_progress_can_be_shown():
    progress = Progress(sweep_id="s-1", objectives=(Objective(metric="cider"),), wanted=2, epochs=3)
    assert summary(progress) == "s-1: 0/2 trials"
    assert "cider" in printed(table(progress))


def test_the_status_sums_the_sweep_up(progress):
    assert summary(progress) == (
        "s-1: 3/6 trials, best cider 0.9000 (trial-001), 0.1 trials/min, about 30.0 min left"
    )


def test_a_sweep_at_its_end_has_no_time_left(progress):
    progress.wanted = 3
    assert "trials/min" in summary(progress)
    assert "min left" not in summary(progress)


def test_without_a_terminal_each_change_is_a_line(progress):
    lines = []
    with PlainLines(progress, lines.append) as screen:
        screen.changed(progress.trials["trial-001"])
        screen.changed(progress.trials["trial-002"])
    assert lines[:2] == [
        "trial-001 r1  rung 1/3 cider 0.9000  completed",
        "trial-002 r2  rung 2/3  failed: ValueError: [oops]",
    ]
    assert lines[2:] == [summary(progress)]


def test_the_console_decides_the_view(progress):
    console = Console(file=StringIO(), force_terminal=True, width=100)
    with view(progress, console) as screen:
        assert isinstance(screen, LiveTable)
        progress.end(3, "completed")
        screen.changed(progress.trials["trial-003"])
    assert "4/6 trials" in console.file.getvalue()
    assert isinstance(view(progress, Console(file=StringIO())), PlainLines)


def test_an_error_is_not_read_as_markup(progress):
    console = Console(file=StringIO(), width=40)
    progress.end(2, "failed", "ValueError: the template has no [/INST] after [INST]")
    view(progress, console).changed(progress.trials["trial-002"])
    assert console.file.getvalue().endswith("the template has no [/INST] after [INST]\n")


def test_the_environment_may_ask_for_events(progress, monkeypatch):
    monkeypatch.setenv("SWEEPS_PROGRESS", "json")
    assert isinstance(view(progress, Console(file=StringIO(), force_terminal=True)), Events)
