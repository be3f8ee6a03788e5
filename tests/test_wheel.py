"""The built wheel: what it would install, and that it works without the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("search_spaces", "sweeps", "workers")
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the sources: building leaves folders behind, and older ones must not count."""
    copy = tmp_path_factory.mktemp("checkout")
    for folder in (*PACKAGES, "mlflow", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES:
        shutil.copy(ROOT / file, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return zipfile.ZipFile(next(out.glob("*.whl")))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Folder with what the wheel installs."""
    folder = tmp_path_factory.mktemp("installed")
    wheel.extractall(folder)
    return folder


def run(installed, code, *arguments, cwd):
    """Run `code` elsewhere; the folder comes before this project's own installation."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(installed)},
    )  # fmt: skip


def test_installs_three_packages_and_nothing_called_mlflow(wheel):
    top = {name.partition("/")[0] for name in wheel.namelist()}
    metadata = {name for name in top if name.endswith(".dist-info")}
    assert len(metadata) == 1
    assert top - metadata == set(PACKAGES)


def test_holds_every_file_of_the_packages_and_no_other(wheel, checkout):
    """A package that setup.py does not find is missing here."""
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    files = [file for folder in PACKAGES for file in (checkout / folder).rglob("*.*")]
    expected = {str(file.relative_to(checkout)) for file in files if file.is_file()}
    beside = [file for file in (checkout / "mlflow").iterdir() if file.is_file()]
    assert found == expected | {f"sweeps/mlflow_files/{file.name}" for file in beside}
    assert {"captioner.py", "compose.yaml", "serve.sh"} <= {file.name for file in beside}
    typed = {f"{package}/py.typed" for package in PACKAGES}
    assert {"sweeps/recipes/quickstart.yaml", *typed} <= found


def test_plans_the_quick_start_from_the_wheel_alone(installed, tmp_path):
    code = "import sweeps.cli.app; print(sweeps.cli.app.__file__); sweeps.cli.app.main()"
    done = run(installed, code, "plan", "quickstart", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    source, *lines = done.stdout.splitlines()
    assert Path(source) == installed / "sweeps" / "cli" / "app.py"
    assert lines[0].split() == ["sweep", "quickstart:", "captioning", "with", "tiny:shapes"]
    assert list(tmp_path.iterdir()) == []


def test_finds_the_captioner_inside_the_wheel(installed, tmp_path):
    code = "from sweeps.promotion.registry import captioner_file; print(captioner_file())"
    done = run(installed, code, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(done.stdout.strip()) == installed / "sweeps" / "mlflow_files" / "captioner.py"


def test_installs_the_command(wheel):
    entry = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "sweeps = sweeps.cli.app:main" in wheel.read(entry).decode()
