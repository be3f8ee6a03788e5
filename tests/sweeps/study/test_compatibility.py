"""A study goes on only with a search for which its points are still valid."""

import pytest

from sweeps.results.folder import SweepFolder
from sweeps.spec.load import parse
from sweeps.study.study import open_study, prepare_study, tell
from sweeps.study.suggester import Suggester

FILE = """
name: same
model: {base: tiny:shapes}
data: {source: shapes}
search:
  start: []
  space:
    adapter.rank: {choice: [2, 4, 8]}
    train.learning_rate: {log_uniform: [1e-4, 1e-2]}
    adapter.dropout: {uniform: [0.0, 0.2], step: 0.1}
"""


@pytest.fixture
def folder(tmp_path):
    """A study with three trials."""
    made = SweepFolder.create(tmp_path, "same")
    sweep = parse(FILE)
    study, _ = prepare_study(sweep, made, resuming=False)
    suggester = Suggester(study, sweep)
    for _ in range(3):
        from optuna.trial import TrialState

        tell(study, suggester.next().trial, TrialState.COMPLETE, value=0.5)
    return made


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("[1e-4, 1e-2]", "[1e-5, 1e-1]", "train.learning_rate: 0.0001 to 0.01, log scale before"),
        ("{uniform: [0.0, 0.2], step: 0.1}", "{uniform: [0.0, 0.4], step: 0.1}",
         "adapter.dropout: 0.0 to 0.2 by 0.1 before, 0.0 to 0.4 by 0.1 now"),
    ],
)  # fmt: skip
def test_a_wider_range_goes_on_and_is_said(folder, old, new, line):
    sweep = parse(FILE.replace(old, new))
    study, (said,) = prepare_study(sweep, folder, resuming=True)
    assert said.startswith(line)
    for _ in range(4):
        assert Suggester(study, sweep).next() is not None
    assert prepare_study(sweep, folder, resuming=True)[1] == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("[1e-4, 1e-2]", "[1e-3, 1e-2]", "train.learning_rate may become a wider range only"),
        ("log_uniform: [1e-4", "uniform: [1e-4", "train.learning_rate may become a wider range"),
        ("[2, 4, 8]", "[2, 4, 8, 16]", "adapter.rank must stay: it was 2, 4, 8, got 2, 4, 8, 16"),
        ("step: 0.1", "step: 0.05", "adapter.dropout may become a wider range only"),
        ("    adapter.rank: {choice: [2, 4, 8]}\n", "", "adapter.rank must still be swept"),
        ("  space:\n", "  space:\n    adapter.alpha: {choice: [8.0, 16.0]}\n",
         "adapter.alpha must not be swept"),
        ("  start: []", "  start: []\n  objective: {metric: bleu_4}",
         "search.objective.metric must stay cider, got bleu_4"),
    ],
)  # fmt: skip
def test_other_changes_are_refused_and_the_way_out_is_named(folder, old, new, problem):
    with pytest.raises(ValueError, match="cannot continue with another search") as raised:
        prepare_study(parse(FILE.replace(old, new)), folder, resuming=True)
    assert problem in str(raised.value)
    assert "search.warm_start: [same-1]" in str(raised.value)


def test_another_direction_is_refused(folder):
    sweep = parse(FILE.replace("start: []", "start: []\n  objective: {metric: loss}"))
    with pytest.raises(ValueError, match=r"search\.objective\.mode must stay max, .* got min"):
        open_study(sweep, folder)


def test_samplers_that_need_one_space_refuse_a_wider_one(folder):
    sweep = parse(FILE.replace("1e-2]", "1e-1]").replace("start: []", "sampler: {name: gp}"))
    with pytest.raises(ValueError, match=r"with sampler gp, .* tpe takes wider ranges"):
        open_study(sweep, folder)
