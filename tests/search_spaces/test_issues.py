"""An issue is one line: where, what must be or is wrong, what was there, and what to do."""

import pickle

import pytest

from search_spaces.issues import Issue, Location, SpaceError, raise_any

RANK = Issue(("adapter.rank", "choice"), "must be a list", "4")


@pytest.mark.parametrize(
    ("issue", "line"),
    [
        (RANK, "adapter.rank.choice  must be a list, got 4"),
        (RANK.below("search", "space"), "search.space.adapter.rank.choice  must be a list, got 4"),
        (Issue((), "must be a mapping"), "must be a mapping"),
        (
            Issue(("task",), "must be one of vqa", '"vqb"', "vqa", location=Location("a.yaml", 4)),
            'a.yaml:4  task  must be one of vqa, got "vqb" (did you mean vqa?)',
        ),
        (Issue(("task",), "must be", "nothing", location=Location("--set")),
         "--set  task  must be, got nothing"),
        (Issue(("trial-003",), "has no run in MLflow", fix="sweeps resume s-1"),
         "trial-003  has no run in MLflow -> sweeps resume s-1"),
        (Issue((), "must be short", "x" * 61), f"must be short, got {'x' * 59}…"),
    ],
)  # fmt: skip
def test_an_issue_is_one_line(issue: Issue, line: str) -> None:
    assert str(issue) == line


def test_an_error_holds_all_issues_and_can_be_pickled() -> None:
    other = Issue((), "must not be empty")
    with pytest.raises(SpaceError) as caught:
        raise_any([RANK, other])
    copy = pickle.loads(pickle.dumps(caught.value))
    assert copy.issues == (RANK, other)
    assert str(copy) == f"{RANK}\n{other}"
    raise_any([])
