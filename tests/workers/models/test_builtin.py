import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from workers.models import builtin
from workers.models.builtin import TinyBase

BUILDER = """
from pathlib import Path

def build(folder, progress):
    with open(Path(__file__).parent / "builds", "a") as builds:
        builds.write("one\\n")
    progress("working")
    if (Path(__file__).parent / "fail").exists():
        (folder / "half").touch()
        raise RuntimeError("out of luck")
    for name in ("config.json", "model.safetensors", "processor_config.json"):
        (folder / name).touch()
"""


@pytest.fixture
def base(tmp_path, monkeypatch):
    """Another built-in base, whose builder takes no time; returns the folder it lives in."""
    (tmp_path / "quick_builder.py").write_text(BUILDER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "quick_builder", raising=False)
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "deep" / "cache"))
    quick = TinyBase(builder="quick_builder", version=3, parameters=0, bytes=0)
    monkeypatch.setitem(builtin.BASES, "tiny:quick", quick)
    return tmp_path


def builds(base):
    return len((base / "builds").read_text().split())


def test_is_built_once_and_then_cached(base):
    assert not builtin.is_cached("tiny:quick")
    lines = []
    folder = builtin.base_folder("tiny:quick", lines.append)
    assert folder == base / "deep" / "cache" / "tiny-quick-v3"
    assert "tiny:quick" in lines[0]
    assert lines[1:] == ["working"]
    assert builtin.is_cached("tiny:quick")
    assert builtin.base_folder("tiny:quick") == folder
    assert builds(base) == 1


def test_many_at_once_build_once(base):
    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(builtin.base_folder, ["tiny:quick"] * 8))
    assert len(folders) == 1
    assert builds(base) == 1


def test_failed_build_leaves_nothing_that_counts(base):
    (base / "fail").touch()
    with pytest.raises(RuntimeError, match="out of luck"):
        builtin.base_folder("tiny:quick")
    assert not builtin.is_cached("tiny:quick")
    (base / "fail").unlink()
    folder = builtin.base_folder("tiny:quick")
    assert builtin.is_cached("tiny:quick")
    assert not (folder / "half").exists()


def test_damaged_cache_is_built_again(base):
    (builtin.base_folder("tiny:quick") / "model.safetensors").unlink()
    assert not builtin.is_cached("tiny:quick")
    assert (builtin.base_folder("tiny:quick") / "model.safetensors").exists()


def test_new_version_is_another_folder(base, monkeypatch):
    old = builtin.base_folder("tiny:quick")
    newer = TinyBase(builder="quick_builder", version=4, parameters=0, bytes=0)
    monkeypatch.setitem(builtin.BASES, "tiny:quick", newer)
    assert not builtin.is_cached("tiny:quick")
    assert builtin.base_folder("tiny:quick") != old


@pytest.mark.parametrize("ask", [builtin.is_cached, builtin.base_folder])
def test_unknown_base_is_refused(ask):
    with pytest.raises(ValueError, match=r"model\.base: built-in are tiny:shapes; got 'tiny:x'"):
        ask("tiny:x")


def test_unusable_cache_folder_is_named(base, monkeypatch):
    monkeypatch.setenv("SWEEPS_CACHE", str(base / "quick_builder.py"))
    with pytest.raises(OSError, match=r"quick_builder\.py cannot be written; set SWEEPS_CACHE"):
        builtin.base_folder("tiny:quick")


def test_planning_imports_no_torch():
    code = (
        "import sys, workers.models.builtin; workers.models.builtin.is_cached('tiny:shapes'); "
        "print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
