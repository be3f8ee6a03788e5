"""Files and folders that are there whole or not at all."""

import os
import subprocess
import sys
import threading

import pytest

from workers.files.atomic import atomic_path, atomic_write


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def fail_half_way(file):
    file.write_text("half")
    raise OSError("half of it is written")


def test_a_file_is_replaced_byte_by_byte(tmp_path):
    file = tmp_path / "file"
    atomic_write(file, "ä\r\n\n")
    assert file.read_bytes() == b"\xc3\xa4\r\n\n"
    atomic_write(file, b"\xff")
    assert file.read_bytes() == b"\xff"
    assert names(tmp_path) == ["file"]


def test_what_was_there_stays_when_writing_fails(tmp_path):
    file = tmp_path / "file"
    atomic_write(file, "before")
    with pytest.raises(OSError, match="half"), atomic_path(file) as partial:
        fail_half_way(partial)
    with pytest.raises(UnicodeEncodeError):
        atomic_write(file, "\ud800")
    assert file.read_text() == "before"
    assert names(tmp_path) == ["file"]


def test_the_mode_is_as_asked_from_the_first_byte_on(tmp_path):
    before = os.umask(0o022)
    try:
        atomic_write(tmp_path / "open", "")
        atomic_write(tmp_path / "secret", "", mode=0o600)
    finally:
        os.umask(before)
    assert (tmp_path / "open").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_a_missing_folder_and_a_folder_in_the_way_are_errors(tmp_path):
    with pytest.raises(FileNotFoundError):
        atomic_write(tmp_path / "nowhere" / "file", "")
    with pytest.raises(IsADirectoryError):
        atomic_write(tmp_path, "")
    assert names(tmp_path) == []


def test_a_folder_of_a_faster_process_stays(tmp_path):
    folder = tmp_path / "folder"
    with atomic_path(folder) as slower:
        slower.mkdir()
        (slower / "mine").touch()
        with atomic_path(folder) as faster:
            faster.mkdir()
            (faster / "theirs").touch()
    assert names(folder) == ["theirs"]
    assert names(tmp_path) == ["folder"]


def test_a_reader_sees_one_of_the_texts_whole_while_several_write(tmp_path):
    file = tmp_path / "file"
    texts = [letter * 100_000 for letter in "abc"]
    atomic_write(file, texts[0])

    def write(text):
        for _ in range(20):
            atomic_write(file, text)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert file.read_text() in texts
    assert names(tmp_path) == ["file"]


def test_who_is_killed_while_writing_leaves_what_was_there(tmp_path):
    code = f"""
import os, signal
from pathlib import Path
from workers.files.atomic import atomic_path
with atomic_path(Path({str(tmp_path / "file")!r})) as partial:
    partial.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    atomic_write(tmp_path / "file", "before")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert (tmp_path / "file").read_text() == "before"
