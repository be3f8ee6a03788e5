"""What is refused before a sweep begins: all issues at once, in order, without secrets."""

import pickle

import pytest

from search_spaces.issues import Issue, Location
from sweeps.spec.problems import RefusedError, SpecError, refuse_any, refused

FIRST = Issue(("name",), "must be a name", "1", location=Location("a.yaml", 1))
SECOND = Issue(("task",), "must be one of vqa", "2", location=Location("a.yaml", 2))
SET = Issue(("train", "epochs"), "must be 1", "0", location=Location("--set"))


def test_issues_are_in_the_order_of_the_file_and_reported_once():
    error = SpecError(SET, SECOND, FIRST, SECOND)
    assert error.issues == (FIRST, SECOND, SET)
    assert str(error) == "\n".join(map(str, error.issues))
    assert pickle.loads(pickle.dumps(error)).issues == error.issues


def test_an_issue_without_a_location_gets_the_source():
    with pytest.raises(SpecError) as caught:
        refuse_any([Issue(("trial",), "must be a trial"), FIRST], "stop-trial")
    assert str(caught.value).splitlines() == ["stop-trial  trial  must be a trial", str(FIRST)]
    refuse_any([], "stop-trial")


def test_secrets_are_hidden_before_a_long_value_is_cut():
    address = f"https://{'u' * 50}:hunter2hunter2@host"
    error = SpecError(
        Issue(("tracking", "token"), "must be text", "hunter2"),
        Issue(("tracking", "uri"), f"must not be {address}", address),
    )
    assert "hunter2" not in str(error)
    assert "hunter2" not in repr(error)


def test_only_errors_of_the_given_kinds_are_refusals():
    with pytest.raises(RefusedError, match="gone"), refused(FileNotFoundError):
        raise FileNotFoundError("gone")
    with pytest.raises(ValueError, match="other") as caught, refused(FileNotFoundError):
        raise ValueError("other")
    assert not isinstance(caught.value, RefusedError)
    with pytest.raises(SpecError), refused():
        raise SpecError(FIRST)
