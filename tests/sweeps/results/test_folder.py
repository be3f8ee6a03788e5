from pathlib import Path

import pytest

from sweeps.results.folder import SweepFolder


def test_sweeps_of_a_name_are_numbered_from_one(tmp_path):
    root = tmp_path / "not" / "yet"
    made = [SweepFolder.create(root, name).sweep_id for name in ("a", "a", "b", "a")]
    assert made == ["a-1", "a-2", "b-1", "a-3"]
    assert sorted(path.name for path in root.iterdir()) == sorted(made)


def test_a_number_is_not_used_again_while_a_later_one_is_there(tmp_path):
    (tmp_path / "a-7").mkdir()
    assert SweepFolder.create(tmp_path, "a").sweep_id == "a-8"


@pytest.mark.parametrize("taken", ["a-1-9", "ab-9", "a-", "a-x", "a-9.old", "a.b-9"])
def test_names_that_look_alike_do_not_count(tmp_path, taken):
    (tmp_path / taken).mkdir()
    assert SweepFolder.create(tmp_path, "a").sweep_id == "a-1"


def test_a_name_is_no_pattern(tmp_path):
    (tmp_path / "axb-5").mkdir()
    assert SweepFolder.create(tmp_path, "a.b").sweep_id == "a.b-1"


def test_folders_are_absolute_and_of_one_sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = SweepFolder.create(type(tmp_path)("results"), "a")
    places = {
        folder.spec,
        folder.study,
        folder.tune,
        folder.snapshot("trial-001", 1),
        folder.snapshot("trial-001", 11),
        folder.snapshot("trial-011", 1),
        folder.best_adapter("trial-001"),
    }
    assert len(places) == 7
    assert {folder.path in place.parents for place in places} == {True}
    assert folder.path == tmp_path / "results" / "a-1"
    assert folder.trial("trial-001") in folder.snapshot("trial-001", 1).parents


def test_snapshots_sort_by_rung(tmp_path):
    folder = SweepFolder.create(tmp_path, "a")
    snapshots = [folder.snapshot("trial-001", rung) for rung in range(101)]
    assert sorted(snapshots) == snapshots


def test_a_sweep_is_found_once_its_file_is_there(tmp_path):
    made = SweepFolder.create(tmp_path, "a")
    with pytest.raises(FileNotFoundError, match=r"no sweep 'a-1' in .*; there is none yet"):
        SweepFolder.find(tmp_path, "a-1")
    made.spec.write_text("")
    assert SweepFolder.find(tmp_path, "a-1") == made
    with pytest.raises(FileNotFoundError, match=r"no sweep 'a-2' in .*; there are a-1$"):
        SweepFolder.find(tmp_path, "a-2")


def test_an_address_is_no_folder_for_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"results must be a folder, got s3:/bucket/sweeps"):
        SweepFolder.create(Path("s3://bucket/sweeps"), "mine")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["", ".", "..", "../a-1", "/etc", "a-1/..", "a-1/"])
def test_a_path_is_no_sweep_and_no_trial(tmp_path, path):
    root = tmp_path / "results"
    outside = SweepFolder.create(tmp_path, "a")
    outside.spec.write_text("")
    made = SweepFolder.create(root, "a")
    made.spec.write_text("")
    with pytest.raises(ValueError, match="must be given by its name alone"):
        SweepFolder.find(root, path)
    for place in (made.trial, made.best_adapter, made.record, made.start):
        with pytest.raises(ValueError, match="must be given by its name alone"):
            place(path)


def test_a_file_is_written_with_its_folder_and_read_back(tmp_path):
    folder = SweepFolder.create(tmp_path, "demo")
    assert folder.read(folder.record("trial-000")) is None
    folder.write(folder.record("trial-000"), "ä\n")
    assert folder.read(folder.record("trial-000")) == "ä\n"
    assert folder.holds(folder.record("trial-000"))
    assert folder.glob("trials/*/rungs.*") == [folder.record("trial-000")]
    folder.remove(folder.trial("trial-000"))
    folder.remove(folder.trial("trial-000"))
    assert not folder.holds(folder.record("trial-000"))
