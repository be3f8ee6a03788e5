import os
import time
import zipfile

import pytest

from sweeps.jobs import parcel as parcels
from sweeps.jobs.parcel import packed, parcel
from sweeps.spec import parse


def fill(folder, *names, text="x"):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def of_folder(sweep, path):
    return sweep("data.source=folder", "data.limit=null", f"data.path={path}")


def names(sweep, folder):
    return list(parcel(sweep, folder).files)


def test_a_sweep_without_files_takes_its_file_alone(sweep, folder):
    fill(folder, "notes.txt", "images/a.png")
    wanted = sweep("train.epochs=7")
    content = parcel(wanted, folder)
    with zipfile.ZipFile(packed(content)) as archive:
        assert archive.namelist() == ["sweep.yaml"]
        assert parse(archive.read("sweep.yaml").decode()) == wanted


def test_only_what_the_file_names_is_sent(sweep, folder):
    fill(folder, "shots/a.png", "shots/b/c.png", "other/d.png", "base/config.json")
    wanted = of_folder(sweep, "shots").model_copy(
        update={"model": sweep().model.model_copy(update={"base": "base"})}
    )
    assert names(wanted, folder) == ["base/config.json", "shots/a.png", "shots/b/c.png"]
    with zipfile.ZipFile(packed(parcel(wanted, folder))) as archive:
        assert "inputs/shots/b/c.png" in archive.namelist()
        assert archive.read("inputs/shots/a.png") == b"x"


def test_a_table_goes_with_its_folder(sweep, folder):
    fill(folder, "set/table.csv", "set/images/a.png")
    wanted = sweep("data.source=csv", "data.limit=null", "data.path=set/table.csv")
    assert names(wanted, folder) == ["set/images/a.png", "set/table.csv"]


def test_images_beside_are_found_as_the_source_finds_them(sweep, folder):
    fill(folder, "set/table.csv", "set/far/a.png")
    wanted = sweep(
        "data.source=csv", "data.limit=null", "data.path=set/table.csv", "data.images=far"
    )
    assert names(wanted, folder) == ["set/far/a.png", "set/table.csv"]


def test_absolute_paths_are_the_clusters(sweep, folder):
    fill(folder, "shots/a.png")
    assert names(of_folder(sweep, folder / "shots"), folder) == []


def test_a_path_out_of_the_folder_is_refused(sweep, folder):
    fill(folder.parent, "shots/a.png")
    with pytest.raises(ValueError, match=r"data\.path: must lie below .* got \.\./shots"):
        parcel(of_folder(sweep, "../shots"), folder)


def test_ignore_rules_hold_and_the_own_file_has_the_last_word(sweep, folder):
    fill(folder, "shots/a.png", "shots/b.raw", "shots/c.raw", "shots/.env", "shots/tmp/d.png")
    fill(folder, ".gitignore", text="*.raw\n")
    fill(folder, ".sweepsignore", text="# not needed\ntmp/\n!c.raw\n")
    assert names(of_folder(sweep, "shots"), folder) == ["shots/a.png", "shots/c.raw"]


def test_results_and_histories_stay_when_all_of_the_folder_goes(sweep, folder):
    fill(folder, "a.png", ".git/HEAD", "sweep-results/tracking.db", "__pycache__/m.pyc", "key.pem")
    assert names(of_folder(sweep, "."), folder) == ["a.png"]


def test_data_that_a_rule_leaves_out_is_refused_with_the_rule_that_sends_it(sweep, folder):
    fill(folder, "shots/a.png")
    fill(folder, ".gitignore", text="\nshots/\n")
    with pytest.raises(ValueError, match=r"data\.path: shots .*`shots/` \(\.gitignore:2\)") as said:
        parcel(of_folder(sweep, "shots"), folder)
    rule = str(said.value).split("`")[3]
    fill(folder, ".sweepsignore", text=f"{rule}\n")
    assert names(of_folder(sweep, "shots"), folder) == ["shots/a.png"]


def test_too_much_names_the_largest_files_and_the_rule(sweep, folder, monkeypatch):
    monkeypatch.setattr(parcels, "MOST_BYTES", 1000)
    fill(folder, "shots/a.png", "shots/b.png", text="x" * 400)
    fill(folder, "shots/raw.tar", text="x" * 500)
    with pytest.raises(ValueError, match=r"the largest: shots/raw\.tar") as said:
        parcel(of_folder(sweep, "shots"), folder)
    assert "`/shots/raw.tar` into .sweepsignore" in str(said.value)
    fill(folder, ".sweepsignore", text="/shots/raw.tar\n")
    assert names(of_folder(sweep, "shots"), folder) == ["shots/a.png", "shots/b.png"]


def test_links_are_followed_and_circles_end(sweep, folder):
    fill(folder.parent, "disk/a.png")
    (folder / "shots").mkdir()
    (folder / "shots" / "far").symlink_to(folder.parent / "disk")
    (folder.parent / "disk" / "back").symlink_to(folder / "shots")
    assert names(of_folder(sweep, "shots"), folder) == ["shots/far/a.png"]


def test_equal_contents_are_one_parcel_and_other_ones_another(sweep, folder):
    fill(folder, "shots/a.png")
    wanted = of_folder(sweep, "shots")
    first = parcel(wanted, folder)
    file = packed(first)
    before = file.read_bytes()
    file.unlink()
    assert packed(parcel(wanted, folder)).read_bytes() == before
    more = parcel(of_folder(sweep, "shots").model_copy(update={"name": "other"}), folder)
    assert (more.inputs == first.inputs, more.digest == first.digest) == (True, False)
    fill(folder, "shots/a.png", text="y")
    changed = parcel(wanted, folder)
    assert (changed.inputs == first.inputs, changed.digest == first.digest) == (False, False)


def test_parcels_that_nobody_sends_any_more_go_after_a_week(sweep, folder):
    one, other = parcel(sweep("name=one"), folder), parcel(sweep("name=other"), folder)
    for each, days in ((one, 6), (other, 8)):
        os.utime(packed(each), (time.time() - 86400 * days,) * 2)
    again = packed(one)
    assert list(again.parent.iterdir()) == [again]
    assert time.time() - again.stat().st_mtime < 3600
