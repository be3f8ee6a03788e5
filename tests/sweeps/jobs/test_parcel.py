import os
import stat
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from sweeps.jobs import parcel as parcels
from sweeps.jobs.outgoing import collect_files
from sweeps.jobs.parcel import archived, pack
from sweeps.spec.load import parse


def mode(path):
    return stat.S_IMODE(Path(path).stat().st_mode)


def packed(sweep):
    return pack(sweep, collect_files(sweep))


def test_a_sweep_without_files_takes_its_file_alone(sweep, fill):
    fill("notes.txt", "images/a.png")
    wanted = sweep("train.epochs=7")
    with archived(packed(wanted)) as file, zipfile.ZipFile(file) as archive:
        assert archive.namelist() == ["sweep.yaml"]
        assert parse(archive.read("sweep.yaml").decode()) == wanted


def test_what_is_sent_is_the_sweep_the_table_and_its_images_and_no_secret(tabled, fill, folder):
    fill("images/a.png", "images/b.png")
    fill(".aws/credentials", "hf_token", "id_ed25519", "prod.env", "server.key", text="hush")
    fill("../id_rsa", text="hush")
    (folder / "link").symlink_to("../id_rsa")
    with archived(packed(tabled("a.png", "b.png"))) as file, zipfile.ZipFile(file) as archive:
        assert archive.namelist() == [
            "sweep.yaml", "inputs/captions.csv", "inputs/images/a.png", "inputs/images/b.png",
        ]  # fmt: skip
        assert b"hush" not in b"".join(map(archive.read, archive.namelist()))
        assert archive.read("inputs/images/a.png") == b"x"
        modes = {entry.external_attr >> 16 for entry in archive.infolist()}
        assert modes == {0o600}


def test_too_much_names_the_largest_files(tabled, fill, monkeypatch):
    monkeypatch.setattr(parcels, "MOST_BYTES", 1000)
    fill("a.png", "b.png", text="x" * 400)
    fill("raw.png", text="x" * 500)
    with pytest.raises(ValueError, match=r"0 MiB in 4 files, .* the largest: raw\.png"):
        packed(tabled("a.png", "b.png", "raw.png"))


def test_equal_contents_are_one_parcel_and_other_ones_another(tabled, fill):
    fill("a.png")
    wanted = tabled("a.png")
    first = packed(wanted)
    with archived(first) as one, archived(packed(wanted)) as other:
        assert one != other
        assert one.read_bytes() == other.read_bytes()
    more = packed(wanted.model_copy(update={"name": "other"}))
    assert (more.inputs == first.inputs, more.digest == first.digest) == (True, False)
    fill("a.png", text="y")
    changed = packed(wanted)
    assert (changed.inputs == first.inputs, changed.digest == first.digest) == (False, False)


def test_only_its_owner_reads_an_archive_and_it_goes_whatever_happens(sweep, folder):
    before = os.umask(0)
    try:
        with suppress(KeyboardInterrupt), archived(packed(sweep())) as file:
            assert (mode(file), mode(file.parent)) == (0o600, 0o700)
            raise KeyboardInterrupt
        with archived(packed(sweep()), Path("kept.zip")) as kept:
            assert mode(kept) == 0o600
    finally:
        os.umask(before)
    assert list(file.parent.iterdir()) == []
    assert zipfile.is_zipfile("kept.zip")
    assert os.listdir() == ["kept.zip"]


def test_an_archive_that_cannot_be_written_leaves_nothing(sweep, folder, monkeypatch):
    def broken(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(parcels.zipfile.ZipFile, "writestr", broken)
    with pytest.raises(OSError, match="disk full"), archived(packed(sweep()), Path("kept.zip")):
        pytest.fail("there is no archive")
    assert os.listdir() == []


def test_what_killed_commands_and_earlier_versions_have_left_goes(sweep, folder):
    left = folder.parent / "cache" / "parcels"
    left.mkdir(parents=True, mode=0o755)
    for name, hours in (("0123456789abcdef.zip", 2), (".killed.zip", 2), (".sending.zip", 0.5)):
        (left / name).touch()
        os.utime(left / name, (time.time() - 3600 * hours,) * 2)
    with archived(packed(sweep())):
        pass
    assert [path.name for path in left.iterdir()] == [".sending.zip"]
    assert mode(left) == 0o700
