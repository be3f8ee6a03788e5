"""Who may look into the cache."""

import os
import stat
from pathlib import Path

import pytest

from workers.files import cache


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.delenv(cache.VARIABLE, raising=False)
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


def test_nobody_else_enters_the_usual_cache():
    cache.make(cache.folder() / "images")
    assert mode(cache.folder()) == 0o700
    cache.folder().chmod(0o750)
    cache.make(cache.folder() / "fetched")
    assert mode(cache.folder()) == 0o750  # opened on purpose


def test_a_cache_that_was_named_may_be_shared(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "shared"))
    cache.make(cache.folder() / "images")
    assert mode(cache.folder()) == 0o755
