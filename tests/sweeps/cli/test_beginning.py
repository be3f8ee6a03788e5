"""A second `sweeps run` of a name: a half-finished sweep is never passed over in silence."""

import pytest

from sweeps.cli.beginning import half_finished, sweep_to_resume
from sweeps.results import lease
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import dump, parse
from sweeps.spec.problems import SpecError
from sweeps.study.searcher import OptunaBridge

FILE = """
name: begun
model: {base: tiny:shapes}
data: {source: shapes}
search: {trials: 2, space: {adapter.rank: {choice: [2, 4, 8]}}, start: []}
"""
SWEEP = parse(FILE)


@pytest.fixture
def bridge(tmp_path):
    """A sweep whose two trials can be begun and ended."""
    folder = SweepFolder.create(tmp_path, "begun")
    folder.spec.write_text(dump(SWEEP))
    return OptunaBridge(SWEEP, folder)


def end(bridge, name):
    result = {"rung": 1, "objective": 0.5, "best": 0.5, "finished": True}
    bridge.on_trial_complete(name, result)


def test_nothing_begun_or_all_ended_is_not_half_finished(bridge, tmp_path):
    assert half_finished(SWEEP, tmp_path) is None
    for name in "ab":
        bridge.suggest(name)
        assert half_finished(SWEEP, tmp_path)[0].sweep_id == "begun-1"
        end(bridge, name)
    assert half_finished(SWEEP, tmp_path) is None
    bridge.add({"adapter.rank": 8}, None)
    assert half_finished(SWEEP, tmp_path) is not None


def test_a_sweep_that_runs_is_left_to_its_driver(bridge, tmp_path):
    bridge.suggest("a")
    with lease.held(SweepFolder.find(tmp_path, "begun-1")):
        assert sweep_to_resume(SWEEP, tmp_path, None, None) is None
        with pytest.raises(ValueError, match="no half-finished sweep 'begun'"):
            sweep_to_resume(SWEEP, tmp_path, True, None)


def test_without_a_terminal_both_ways_are_named(bridge, tmp_path):
    bridge.suggest("a")
    with pytest.raises(ValueError, match="0 of 2 trials have ended") as refused:
        sweep_to_resume(SWEEP, tmp_path, None, None)
    assert "sweeps resume begun-1" in str(refused.value)
    assert "--fresh" in str(refused.value)


@pytest.mark.parametrize(("resume", "expected"), [(True, "begun-1"), (False, None)])
def test_the_command_line_decides(bridge, tmp_path, resume, expected):
    bridge.suggest("a")
    assert sweep_to_resume(SWEEP, tmp_path, resume, None) == expected


@pytest.mark.parametrize(("answers", "expected"), [(["what", "r"], "begun-1"), (["Fresh"], None)])
def test_a_person_is_asked_until_the_answer_is_one(bridge, tmp_path, answers, expected):
    bridge.suggest("a")
    asked = []
    found = sweep_to_resume(
        SWEEP, tmp_path, None, lambda text: asked.append(text) or answers[len(asked) - 1]
    )
    assert (found, len(asked)) == (expected, len(answers))
    assert "begun-1 is half-finished" in asked[0]


def test_a_person_may_cancel(bridge, tmp_path):
    bridge.suggest("a")
    with pytest.raises(ValueError, match="nothing was started"):
        sweep_to_resume(SWEEP, tmp_path, None, lambda text: "c")


def test_another_file_of_the_name_cannot_go_on_with_it(bridge, tmp_path):
    bridge.suggest("a")
    other = parse(FILE + "train: {epochs: 3}\n")
    with pytest.raises(SpecError, match=r"train\.epochs.*must stay 15"):
        sweep_to_resume(other, tmp_path, True, None)
