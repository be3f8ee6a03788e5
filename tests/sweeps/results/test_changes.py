"""What may change when a sweep goes on, and that earlier files are kept."""

import pytest

from sweeps.results import changes
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import dump, load, parse
from sweeps.spec.problems import SpecError

FILE = """
name: changed
model: {base: tiny:shapes}
data: {source: shapes, limit: 24}
search: {trials: 4, space: {adapter.rank: {choice: [2, 4]}}}
"""


@pytest.fixture
def folder(tmp_path):
    made = SweepFolder.create(tmp_path, "changed")
    made.spec.write_text(dump(parse(FILE)))
    return made


@pytest.mark.parametrize(("trials", "wanted"), [("+20", 24), ("60", 60), (None, 4)])
def test_trials_are_counted_in_all_or_on_top(folder, trials, wanted):
    assert changes.changed(folder, trials, ()).search.trials == wanted


@pytest.mark.parametrize(
    "assignment",
    ["schedule.name=fifo", "resources.slots=2", "search.sampler.name=random", "disk.keep=null",
     "promote.model=mine", "evaluate.batch_size=4",
     "search.space.adapter.rank={choice: [2, 4, 8]}"],
)  # fmt: skip
def test_what_leaves_scores_comparable_may_change(folder, assignment):
    assert changes.changed(folder, None, [assignment]) != load(folder.spec)


@pytest.mark.parametrize(
    ("assignment", "field"),
    [
        ("model.base=other", "model.base"),
        ("data.limit=12", "data.limit"),
        ("data.seed=1", "data.seed"),
        ("task=vqa", "task"),
        ("prompt.text=What?", "prompt.text"),
        ("evaluate.metrics=[cider]", "evaluate.metrics"),
        ("evaluate.limit=3", "evaluate.limit"),
        ("train.epochs=3", "train.epochs"),
        ("adapter.alpha=8.0", "adapter.alpha"),
        ("guard.rungs=3", "guard.rungs"),
        ("search.objective.metric=bleu_4", "search.objective.metric"),
        ("name=another", "name"),
        ("tracking.experiment=another", "tracking.experiment"),
    ],
)
def test_what_would_make_scores_incomparable_is_refused_by_name(folder, assignment, field):
    extra = ["evaluate.metrics=[exact_match]", "search.objective.metric=exact_match"]
    given = [*(extra if field == "task" else ()), assignment]
    with pytest.raises(SpecError) as refused:
        changes.changed(folder, "+1", given)
    problem = next(one for one in refused.value.issues if one.path == field)
    assert "must stay" in problem.message
    assert "start a new sweep" in problem.message


def test_all_problems_are_told_at_once(folder):
    with pytest.raises(SpecError) as refused:
        changes.changed(folder, None, ["model.base=other", "train.batch_size=4"])
    assert {one.path for one in refused.value.issues} == {"model.base", "train.batch_size"}


@pytest.mark.parametrize("trials", ["many", "-3", "+", "1.5"])
def test_a_number_of_trials_is_a_number(folder, trials):
    with pytest.raises(SpecError, match=r"--trials.*such as \+20"):
        changes.changed(folder, trials, ())


def test_earlier_files_are_kept_and_equal_ones_are_not(folder):
    first = folder.spec.read_text()
    changes.keep(folder, load(folder.spec))
    assert not folder.earlier_spec(1).exists()
    for trials in ("+1", "+1"):
        changes.keep(folder, changes.changed(folder, trials, ()))
    assert folder.earlier_spec(1).read_text() == first
    assert [load(folder.earlier_spec(n)).search.trials for n in (1, 2)] == [4, 5]
    assert load(folder.spec).search.trials == 6
