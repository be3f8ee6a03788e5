"""What an earlier sweep learned is taken where it is about the same thing."""

import pytest
from optuna.trial import TrialState

from sweeps.results.folder import SweepFolder
from sweeps.spec.load import dump, parse
from sweeps.study import warm_start
from sweeps.study.study import own_trials, prepare_study, tell
from sweeps.study.suggester import Suggester

FILE = """
name: warm
model: {base: tiny:shapes}
data: {source: shapes}
adapter: {rank: 4}
search:
  start: []
  sampler: {name: grid}
  space:
    train.epochs: {choice: [2, 4]}
    adapter.dropout: {choice: [0.0, 0.1, 0.3]}
"""
NEW = """
name: warm
model: {base: tiny:shapes}
data: {source: shapes}
train: {epochs: 4}
search:
  start: []
  warm_start: [warm-1]
  sampler: {name: tpe}
  space:
    adapter.rank: {choice: [2, 4, 8]}
    adapter.dropout: {uniform: [0.0, 0.2]}
"""


@pytest.fixture
def earlier(tmp_path):
    """Six trials of which one was stopped; their scores are ten times the dropout."""
    folder, sweep = SweepFolder.create(tmp_path, "warm"), parse(FILE)
    folder.spec.write_text(dump(sweep))
    study, _ = prepare_study(sweep, folder, resuming=False)
    suggester = Suggester(study, sweep)
    for number in range(6):
        one = suggester.next()
        value = 10 * one.point["adapter.dropout"]
        one.trial.report(value, 1)
        if number == 0:
            tell(study, one.trial, TrialState.PRUNED)
        else:
            tell(study, one.trial, TrialState.COMPLETE, value=value)
    return own_trials(study)


def begun(text, root):
    sweep = parse(text)
    folder = SweepFolder.create(root, "warm")
    study, _ = prepare_study(sweep, folder, resuming=False)
    return study, sweep, warm_start.add_earlier_trials(study, sweep, root)


def test_points_are_mapped_with_the_values_that_were_fixed(earlier, tmp_path):
    study, sweep, (line,) = begun(NEW, tmp_path)
    finished = {name: one for name, one in earlier.items() if one.state is TrialState.COMPLETE}
    usable = {
        f"warm-1/{name}": one.params["adapter.dropout"]
        for name, one in finished.items()
        if one.params["train.epochs"] == 4 and one.params["adapter.dropout"] < 0.2
    }
    taken = {one.user_attrs["from"]: one for one in study.trials}
    assert {name: one.params for name, one in taken.items()} == {
        name: {"adapter.rank": 4, "adapter.dropout": dropout} for name, dropout in usable.items()
    }
    for one in taken.values():
        assert one.value == pytest.approx(10 * one.params["adapter.dropout"])
        assert one.intermediate_values == {1: one.value}
    outside = sum(one.params["adapter.dropout"] == 0.3 for one in finished.values())
    assert line.startswith(f"took {len(usable)} of 6 trials of warm-1: ")
    assert f"{outside} outside adapter.dropout" in line
    assert "1 not finished" in line
    assert "with another train.epochs" in line
    assert Suggester(study, sweep).next().number == 0


def test_a_resumed_sweep_takes_them_once(earlier, tmp_path):
    study, sweep, _ = begun(NEW, tmp_path)
    count = len(study.trials)
    assert count > 0
    warm_start.add_earlier_trials(study, sweep, tmp_path)
    assert len(study.trials) == count


def test_a_sampler_learns_from_them(earlier, tmp_path):
    """With what was taken TPE needs no random points of its own."""
    options = "{name: tpe, options: {startup_trials: 1}}"
    study, sweep, _ = begun(NEW.replace("{name: tpe}", options), tmp_path)
    one = Suggester(study, sweep).next()
    cold, cold_sweep, _ = begun(
        NEW.replace("{name: tpe}", options).replace("[warm-1]", "[]"), tmp_path
    )
    assert one.point != Suggester(cold, cold_sweep).next().point


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ("{source: shapes}", "{source: shapes, seed: 3}", "data.seed 0 there, 3 here"),
        ("tiny:shapes}", "tiny:shapes, dtype: bfloat16}", "model.dtype"),
        ("start: []", "start: []\n  objective: {metric: bleu_4}", "search.objective.metric"),
        ("train:", "evaluate: {beams: 2}\ntrain:", "evaluate.beams 1 there, 2 here"),
    ],
)
def test_a_sweep_about_something_else_is_refused(earlier, tmp_path, old, new, difference):
    with pytest.raises(ValueError, match="scores of warm-1 are not comparable") as raised:
        begun(NEW.replace(old, new, 1), tmp_path)
    assert difference in str(raised.value)


def test_a_sweep_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no sweep 'warm-1'"):
        begun(NEW, tmp_path)
