"""What a sweep file may say about where its results live."""

import pytest

from sweeps.cli.app import main
from sweeps.spec.load import located, parse, results_of
from sweeps.spec.problems import SpecError
from sweeps.spec.storage import refuse_unfit
from sweeps.storage import copies, places

FILE = "name: stored\nmodel: {base: tiny:shapes}\ndata: {source: shapes}\n"
SERVED = 'tracking: {uri: "http://127.0.0.1:5000"}\n'


def problems(text):
    with pytest.raises(SpecError) as error:
        parse(FILE + text)
    return [(problem.path, str(problem)) for problem in error.value.issues]


def test_results_live_where_they_are_named_first(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    there = parse(FILE + SERVED + "storage: s3://bucket/prefix\n")
    assert results_of(there, None) == "s3://bucket/prefix"
    assert results_of(there, "/shared") == "/shared"
    assert results_of(parse(FILE), None) == "sweep-results"
    assert located(parse(FILE + "storage: here\n")).storage == str(tmp_path / "here")
    assert located(there).storage == "s3://bucket/prefix"


def test_an_address_with_a_secret_is_refused_without_saying_it():
    ((path, said),) = problems(SERVED + "storage: s3://key:topsecret@bucket\n")
    assert path == "storage"
    assert "must be an address without a secret" in said
    assert said.endswith('got "s3://***@bucket"')


def test_what_an_object_store_cannot_hold_is_refused():
    ((path, said),) = problems("storage: s3://bucket\n")
    assert path == "tracking.uri"
    assert "must be the address of an MLflow server with results in s3://bucket" in said
    ((path, said),) = problems(SERVED + "storage: s3://bucket\nsearch: {storage: team.log}\n")
    assert path == "search.storage"
    parse(FILE + SERVED + "storage: /shared/results\nsearch: {storage: team.log}\n")
    parse(FILE + SERVED + "storage: s3://bucket\nsearch: {storage: postgresql://db/studies}\n")


def test_the_same_holds_for_an_address_that_replaces_the_file_s(keys):
    refuse_unfit(parse(FILE), None)
    with pytest.raises(SpecError, match=r"tracking\.uri"):
        refuse_unfit(parse(FILE), "gs://bucket")


def said_by(monkeypatch, capsys, *arguments):
    """Exit code and error of a command."""
    monkeypatch.setattr("sys.argv", ["sweeps", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, capsys.readouterr().err


@pytest.mark.parametrize("command", [("status",), ("resume", "a-1"), ("status", "a-1")])
def test_a_bucket_that_is_not_there_ends_a_command_with_a_sentence(
    command, keys, monkeypatch, capsys
):
    code, said = said_by(monkeypatch, capsys, *command, "--results", "s3://no-such-bucket/p")
    assert code == 2
    assert "cannot use s3://no-such-bucket/p: there is no such bucket; create it" in said
    assert "Traceback" not in said


def test_an_unknown_sweep_is_said_with_the_address(address, monkeypatch, capsys):
    root = places.working(address, "test")
    (root / "b-1").mkdir()
    (root / "b-1/sweep.yaml").write_text(FILE)
    copies.push(root / "b-1/sweep.yaml")
    code, said = said_by(monkeypatch, capsys, "status", "a-1", "--results", address)
    assert (code, said) == (1, f"error: no sweep 'a-1' in {address}; there are b-1\n")
