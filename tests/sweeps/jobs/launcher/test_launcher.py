"""The script that `ray submit` runs: what it carries, and what it refuses before it starts."""

import os
import runpy
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sweeps.cli.app import app, main
from sweeps.jobs import launcher
from sweeps.jobs.launcher import Launch, driver_environment, start
from sweeps.results import lease
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import dump, parse, read

HOSTILE = """data.path=it's "my" {folder}\\n %s \\\\ '''"""
SUBMIT = "ray submit CLUSTER.yaml launch.py"


def invoke(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["launcher", *arguments])
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def launched(here, monkeypatch):
    """Run a launcher as Python does, and return what it would start, with which arguments."""

    def run(script, *arguments):
        calls = []
        monkeypatch.setattr(launcher, "start", lambda *call: calls.append(call) or 7)
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        with pytest.raises(SystemExit) as left:
            runpy.run_path(script, run_name="__main__")
        assert left.value.code == 7
        ((launch, given),) = calls
        return launch, given

    return run


def test_carries_the_sweep_as_it_is_now_with_its_overrides(launched):
    invoke("quickstart", "--set", "train.epochs=2", "--set", HOSTILE, "--results", "/all's/my 'x'")
    launch, arguments = launched("launch.py", "--resume")
    assert parse(launch.sweep) == read("quickstart", ["train.epochs=2", HOSTILE])
    assert (launch.results, launch.command) == ("/all's/my 'x'", SUBMIT)
    assert arguments == ["--resume"]


def test_knows_the_cluster_file_that_holds_the_sweep(here, launched):
    indented = "".join(f"    {line}" for line in dump(read("quickstart", ())).splitlines(True))
    Path("my sweep.yaml").write_text(f"cluster_name: x\nmetadata:\n  sweep:\n{indented}")
    assert "run it: ray submit 'my sweep.yaml' start.py" in invoke(
        "my sweep.yaml", "--out", "start.py"
    )
    assert launched("start.py")[0].command == "ray submit 'my sweep.yaml' start.py"


def test_a_line_break_in_a_files_name_begins_no_line_of_the_script(here, launched):
    indented = "".join(f"    {line}" for line in dump(read("quickstart", ())).splitlines(True))
    name = "a\nraise SystemExit(3)\n#.yaml"
    Path(name).write_text(f"cluster_name: x\nmetadata:\n  sweep:\n{indented}")
    invoke(name, "--out", "start.py")
    assert launched("start.py")[0].command == f"ray submit {shlex.quote(name)} start.py"


def test_says_what_it_does_not_bring_along(here):
    Path("images").mkdir()
    folder = ["--set", "data.source=folder", "--set", "data.path=images"]
    said = invoke("quickstart", *folder, "--set", "model.base=microsoft/git-base")
    assert "note: data.path images is not sent; all nodes must have it" in said
    assert "model.base" not in said


def test_writes_nothing_for_a_broken_sweep(here, monkeypatch):
    arguments = ["sweeps", "launcher", "quickstart", "--set", "train.epochs=0"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert list(here.iterdir()) == []


def test_replaces_launchers_and_nothing_else(here):
    invoke("quickstart")
    invoke("quickstart", "--set", "train.epochs=2")
    assert "epochs: 2" in Path("launch.py").read_text()
    Path("launch.py").write_text("import mine\n")
    done = CliRunner().invoke(app, ["launcher", "quickstart"])
    assert isinstance(done.exception, FileExistsError)
    assert Path("launch.py").read_text() == "import mine\n"


def test_a_script_with_blanks_in_its_name_is_refused(here):
    assert "no script with blanks" in " ".join(
        invoke("quickstart", "--out", "my launch.py", code=2).replace("│", " ").split()
    )


def test_a_machine_without_the_package_is_told_what_to_install(here):
    invoke("quickstart")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "launch.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "finds no caption-sweeps" in done.stderr
    assert "install it on every node" in done.stderr
    assert "Traceback" not in done.stderr


def launch(root, **changes):
    """A launcher of the quick start with its results below `root`."""
    values = {"sweep": dump(read("quickstart", ())), "version": version("caption-sweeps")}
    return Launch(**{**values, "results": str(root), "command": SUBMIT, **changes})


@pytest.fixture
def refused(tmp_path, capsys):
    """Return a function: start a launcher that refuses -> what it says."""

    def run(*arguments, **changes):
        before = sorted(tmp_path.rglob("*"))
        assert start(launch(tmp_path, **changes), arguments) == 2
        left = [path for path in sorted(tmp_path.rglob("*")) if path.suffix != ".lock"]
        assert left == [path for path in before if path.suffix != ".lock"]
        return capsys.readouterr().err

    return run


def test_another_version_is_refused(refused):
    said = refused(version="0.0.9")
    assert "the launcher was written by 0.0.9: install the same version on every node" in said


@pytest.mark.parametrize("arguments", [["--set", "a=b"], ["--resume", "--fresh"], ["two words"]])
def test_arguments_that_ray_would_split_are_refused(refused, arguments):
    said = refused(*arguments)
    assert said.startswith("error: a launcher takes --resume or --fresh, got ")
    assert "`ray submit` splits arguments at blanks" in said


def test_a_sweep_of_the_name_that_runs_is_left_alone(refused, tmp_path):
    folder = SweepFolder.create(tmp_path, "quickstart")
    folder.spec.write_text(dump(read("quickstart", ())))
    with lease.held(folder):
        said = refused()
    assert "error: quickstart-1 is being run by process" in said
    assert f"stop it with `sweeps stop quickstart-1 --results {tmp_path}`" in said


def test_a_driver_that_ends_early_is_told_with_its_own_words_and_code(tmp_path, capsys):
    root = tmp_path / "my results"
    assert start(launch(root), ["--resume"]) == 2
    said = capsys.readouterr()
    assert f"--resume: there is no half-finished sweep 'quickstart' in {root}" in said.err
    assert "error: the driver ended with code 2; log: " in said.err
    (log,) = root.glob("launched/quickstart-*.log")
    assert str(log) in said.out
    assert "no half-finished" in log.read_text()
    assert parse(log.with_suffix(".yaml").read_text()) == read("quickstart", ())


DRIVER = """
import os, signal, sys, time
from pathlib import Path
from sweeps.results import lease
from sweeps.results.folder import SweepFolder
file, root = Path(sys.argv[2]), Path(sys.argv[4])
if (root / "interrupt").exists():
    os.kill(os.getppid(), signal.SIGINT)
time.sleep(0.5)
folder = SweepFolder.create(root, "quickstart")
folder.spec.write_text(file.read_text())
with lease.held(folder):
    while not (root / "end").exists():
        time.sleep(0.05)
"""


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Folder of the results of a driver that only has its sweep, until a file `end` is there."""
    monkeypatch.setattr(launcher, "_DRIVER", DRIVER)
    yield tmp_path
    (tmp_path / "end").touch()


def test_leaves_a_driver_in_a_session_of_its_own_and_says_how_to_go_on(results, capsys):
    assert start(launch(results, command="ray submit 'my cluster.yaml' launch.py"), []) == 0
    driver = lease.read(SweepFolder.find(results, "quickstart-1"))
    assert os.getsid(driver.pid) == driver.pid
    (log,) = results.glob("launched/*.log")
    assert capsys.readouterr().out.splitlines() == [
        f"starting quickstart; its log is {log}",
        f"quickstart-1 is run by process {driver.pid} on {driver.host} and needs this terminal no "
        "longer",
        f"follow its log: ray exec 'my cluster.yaml' 'tail -n +1 -F {log}'",
        "see how it stands: ray exec 'my cluster.yaml' "
        f"'sweeps status quickstart-1 --results {results}'",
        f"stop it: ray exec 'my cluster.yaml' 'sweeps stop quickstart-1 --results {results}'",
        "resume after a stop: ray submit 'my cluster.yaml' launch.py --resume",
    ]


def test_of_two_starts_at_a_time_one_is_refused(results):
    with ThreadPoolExecutor() as pool:
        codes = [pool.submit(start, launch(results), []) for _ in range(2)]
        assert sorted(code.result() for code in codes) == [0, 2]
    assert [path.parent.name for path in results.glob("*/sweep.yaml")] == ["quickstart-1"]


def test_ctrl_c_ends_the_waiting_and_not_the_driver(results, capsys):
    (results / "interrupt").touch()
    assert start(launch(results), []) == 130
    assert "a driver that was started keeps starting" in capsys.readouterr().out
    deadline = time.monotonic() + 20
    while not list(results.glob("*/driver.json")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_driver_joins_the_cluster_of_its_machine():
    assert driver_environment({"HOME": "x"}) == {
        "HOME": "x", "RAY_ADDRESS": "auto", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    assert driver_environment({"RAY_ADDRESS": "10.0.0.1:6379"})["RAY_ADDRESS"] == "10.0.0.1:6379"
