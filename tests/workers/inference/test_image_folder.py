"""Files that strangers name are read from one folder and from nowhere else."""

import os

import pytest

from workers.inference.image_folder import read_within


@pytest.fixture
def folder(tmp_path):
    allowed = tmp_path / "allowed"
    (allowed / "sub").mkdir(parents=True)
    (allowed / "sub" / "a.png").write_bytes(b"inside")
    (tmp_path / "secret.png").write_bytes(b"outside")
    (allowed / "link.png").symlink_to(tmp_path / "secret.png")
    (allowed / "near.png").symlink_to(allowed / "sub" / "a.png")
    (allowed / "out").symlink_to(tmp_path)
    os.mkfifo(allowed / "pipe.png")
    return allowed


def test_a_file_within_is_read(folder):
    assert read_within(folder, "sub/a.png", 6) == b"inside"
    assert read_within(folder, "./sub//a.png", 6) == b"inside"


def test_the_folder_itself_may_be_a_link(folder, tmp_path):
    (tmp_path / "images").symlink_to(folder)
    assert read_within(tmp_path / "images", "sub/a.png", 6) == b"inside"


@pytest.mark.parametrize(
    "path",
    [
        "../secret.png", "sub/../../secret.png", "sub/../sub/a.png", "link.png", "near.png",
        "out/secret.png", "sub", "pipe.png", "missing.png", "sub/a.png/b", "", ".", "a\0b",
        "x" * 300,
    ],
)  # fmt: skip
def test_nothing_else_is_reached(folder, path):
    with pytest.raises(OSError):  # noqa: PT011  # each has an errno of its own
        read_within(folder, path, 100)


def test_an_absolute_path_is_refused_even_if_it_lies_within(folder):
    with pytest.raises(PermissionError):
        read_within(folder, str(folder / "sub" / "a.png"), 100)


def test_a_file_above_the_limit_is_refused(folder):
    with pytest.raises(OSError, match="too large"):
        read_within(folder, "sub/a.png", 5)
