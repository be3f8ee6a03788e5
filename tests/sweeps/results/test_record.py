"""The record of a trial: what survives a crash at any byte."""

from dataclasses import replace

import pytest

from sweeps.results import record
from sweeps.results.folder import SweepFolder
from sweeps.rung_result import RungResult


@pytest.fixture
def folder(tmp_path):
    made = SweepFolder.create(tmp_path, "recorded")
    for trial in ("trial-000", "trial-001"):
        made.trial(trial).mkdir(parents=True)
    return made


def rung(number, *, finished=False, time=0.0):
    return RungResult(rung=number, objective=0.5, finished=finished, time=time)


def test_a_trial_without_a_record_has_no_rungs(folder):
    assert record.read(folder, "trial-000") == []
    assert record.usable(folder, "trial-000") == []


def test_a_line_cut_off_by_a_crash_is_left_out_and_does_not_spoil_the_next(folder):
    record.append(folder, "trial-000", rung(1))
    folder.snapshot("trial-000", 1).mkdir()
    with folder.record("trial-000").open("a") as file:
        file.write('{"rung": 2, "objec')
    assert record.usable(folder, "trial-000") == [rung(1)]
    record.append(folder, "trial-000", rung(2))
    assert record.read(folder, "trial-000") == [rung(1), rung(2)]


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_wherever_a_line_is_cut_off_the_others_count(folder, cut):
    record.append(folder, "trial-000", rung(1))
    file = folder.record("trial-000")
    file.write_bytes(file.read_bytes() + file.read_bytes()[:cut])
    record.append_event(file, "opened", format=record.FORMAT)
    record.append(folder, "trial-000", rung(2), {"tags": {"a": "ä\n"}})
    assert record.read(folder, "trial-000") == [rung(1), rung(2)]
    lines = record.lines(file)
    assert [line.event for line in lines] == [None, "opened", None]
    assert lines[-1].logged == {"tags": {"a": "ä\n"}}


def test_events_that_nobody_knows_are_left_out_and_a_later_format_is_refused(folder):
    record.append_event(folder.record("trial-000"), "checked", sum="0")
    record.append(folder, "trial-000", rung(1))
    assert record.read(folder, "trial-000") == [rung(1)]
    record.append_event(folder.record("trial-000"), "opened", format=record.FORMAT + 1)
    with pytest.raises(ValueError, match="format 2 or below, but has format 3"):
        record.read(folder, "trial-000")


def test_a_trial_stopped_by_the_guard_is_over_without_a_snapshot(folder):
    last = replace(rung(1), objective=float("inf"), guard="rung 1: train/loss is inf")
    record.append(folder, "trial-007", last)
    assert record.usable(folder, "trial-007") == [last]


def test_rungs_after_the_newest_snapshot_are_forgotten(folder):
    for number in (1, 2, 3):
        record.append(folder, "trial-000", rung(number))
    folder.snapshot("trial-000", 2).mkdir()
    assert record.usable(folder, "trial-000") == [rung(1), rung(2)]
    assert record.read(folder, "trial-000") == [rung(1), rung(2)]


def test_a_finished_trial_needs_no_snapshot(folder):
    record.append(folder, "trial-000", rung(1))
    record.append(folder, "trial-000", rung(2, finished=True))
    assert len(record.usable(folder, "trial-000")) == 2


def test_the_rungs_of_several_trials_come_in_the_order_in_which_they_ended(folder):
    record.append(folder, "trial-000", rung(1, time=1.0))
    record.append(folder, "trial-001", rung(1, time=2.0))
    record.append(folder, "trial-000", rung(2, time=3.0))
    trials = {name: record.read(folder, name) for name in ("trial-001", "trial-000")}
    names = [name for name, _ in record.in_order(trials)]
    assert names == ["trial-000", "trial-001", "trial-000"]
