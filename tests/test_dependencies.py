"""Who may import whom.

    search_spaces   the standard library, pydantic, optuna
    workers         anything installed but ray, optuna, mlflow; neither sweeps nor search_spaces
    sweeps          anything; heavy packages only where they are used
    mlflow/         mlflow, pydantic, workers and what the captioner computes with; no sweeps;
                    what the team's server runs finds the files beside it, and those alone

Imports inside functions count as well: these rules say what must be installed where the code runs.
"""

import ast
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PACKAGES = ("search_spaces", "sweeps", "workers")

ALLOWED = {
    "search_spaces": {"search_spaces", "pydantic", "optuna"},
    "mlflow": {"mlflow", "pydantic", "workers", "torch", "peft", "PIL", "roles"},
}
"""Folder -> all that its files import beside the standard library."""

FORBIDDEN = {"workers": {"ray", "optuna", "mlflow", "sweeps", "search_spaces"}}
"""Folder -> what its files never import."""

LIGHT = ("sweeps.cli.app", "sweeps.spec.load", "sweeps.cli.plan")
"""Modules that the command line imports before it does anything."""
HEAVY = ("torch", "ray", "mlflow", "transformers")
"""Packages that take a second or more to import."""


def imported(file):
    """Return the top-level names that a file imports, with the lines."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative import"
            yield node.module.partition(".")[0], node.lineno


def imports(folder):
    """Return ``file:line -> name`` of all that the files of a folder import."""
    return {
        f"{file.relative_to(ROOT)}:{line} imports {name}": name
        for file in sorted((ROOT / folder).rglob("*.py"))
        for name, line in imported(file)
    }


@pytest.mark.parametrize("folder", ALLOWED)
def test_imports_nothing_but_what_is_allowed(folder):
    found = imports(folder)
    assert found, f"{folder} holds no imports: is it still there?"
    allowed = ALLOWED[folder] | sys.stdlib_module_names
    assert [place for place, name in found.items() if name not in allowed] == []


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_imports_nothing_that_is_forbidden(folder):
    found = imports(folder)
    assert "torch" in found.values()
    assert [place for place, name in found.items() if name in FORBIDDEN[folder]] == []


def test_imports_are_found_inside_functions_too(tmp_path):
    file = tmp_path / "module.py"
    file.write_text("import os.path\ndef f():\n    if True:\n        from ray.tune import x\n")
    assert list(imported(file)) == [("os", 1), ("ray", 4)]


def test_every_imported_package_is_a_declared_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {canonicalize_name(Requirement(need).name) for need in project["dependencies"]}
    distributions = packages_distributions()
    undeclared = [
        place
        for folder in (*PACKAGES, "mlflow")
        for place, name in imports(folder).items()
        if name not in sys.stdlib_module_names and name not in (*PACKAGES, "roles")
        if not declared & set(map(canonicalize_name, distributions.get(name, [name])))
    ]
    assert undeclared == []


@pytest.mark.parametrize("module", LIGHT)
def test_command_line_starts_without_heavy_packages(module):
    code = f"import sys, {module}; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout.split()) == (0, "", [])


@pytest.mark.parametrize("folder", ["mlflow", "tests"])
def test_folder_is_no_package(folder):
    """An `__init__.py` would shadow the installed mlflow, or the package that is tested."""
    assert list((ROOT / folder).rglob("__init__.py")) == []


def test_no_file_names_a_place_on_one_machine():
    places = {ROOT, ROOT.parent, Path.home(), Path(tempfile.gettempdir()), Path(sys.prefix)}
    names = [f"{place}/" for place in places if place != place.parent] + ["/home/", "/Users/"]
    files = [
        file
        for folder in (*PACKAGES, "mlflow")
        for suffix in ("py", "yaml")
        for file in (ROOT / folder).rglob(f"*.{suffix}")
    ]
    assert len(files) > 50
    assert [
        f"{file.relative_to(ROOT)} names {name}"
        for file in files
        for name in names
        if name in file.read_text(encoding="utf-8")
    ] == []
