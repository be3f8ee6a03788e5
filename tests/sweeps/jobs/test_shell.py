"""The function `ray` of `sweeps shell`, in real shells with stand-ins for both commands."""

import os
import shutil
import subprocess
import sys

import pytest

from sweeps.cli.jobs import FUNCTION, is_ours

SWEEP = "name: shapes\nmodel: {base: tiny:shapes}\ndata: {source: shapes}\n"
CLUSTER = "cluster_name: mine\nprovider: {type: local, head_ip: 127.0.0.1}\n"
BOTH = f"{CLUSTER}metadata:\n  sweep: {{name: shapes, data: {{source: shapes}}}}\n"
INVALID = "name: shapes\nsearch: {trials: many}\n"


@pytest.fixture
def files(folder):
    for name, text in {
        "sweep.yaml": SWEEP, "my sweep.yaml": SWEEP, "both.yaml": BOTH, "invalid.yaml": INVALID,
        "cluster.yaml": CLUSTER, "broken.yaml": "a: [", "list.yaml": "[1]",
    }.items():  # fmt: skip
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["sweep.yaml"],
        ["my sweep.yaml"],
        ["both.yaml"],
        ["invalid.yaml"],
        ["sweep.yaml", "--address", "http://head:8265", "--set", "train.epochs=3", "--no-wait"],
        ["both.yaml", "--idempotency-key", "a", "--results=/shared"],
    ],
)
def test_one_file_with_a_sweep_and_no_script_is_ours(files, words):
    assert is_ours(words)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--help"],
        ["sweep.yaml", "--help"],
        ["cluster.yaml"],
        ["cluster.yaml", "script.py"],
        ["both.yaml", "launch.py"],
        ["both.yaml", "--start", "launch.py"],
        ["sweep.yaml", "launch.py", "--", "--epochs", "3"],
        ["--start", "sweep.yaml"],
        ["broken.yaml"],
        ["list.yaml"],
        ["quickstart"],
        ["."],
    ],
)
def test_all_else_is_rays(files, words):
    assert not is_ours(words)


@pytest.fixture
def commands(files, monkeypatch):
    """A folder of commands in front of all others: a `ray` that tells, and the real `sweeps`,
    of which `submit` tells, too."""
    folder = files.parent / "bin"
    folder.mkdir()
    tell = 'printf "%s|" {name} "$@"; exit 3\n'
    call = f'exec "{sys.executable}" -c "from sweeps.cli.app import main; main()" "$@"\n'
    ours = 'if [ "$1" = submit ]; then ' + tell.format(name="sweeps") + "fi\n" + call
    for name, text in {"ray": tell.format(name="ray"), "sweeps": ours}.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.mark.parametrize("shell", ["bash", "zsh", "dash"])
def test_the_function_sends_each_call_where_it_belongs(commands, shell):
    if shutil.which(shell) is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no {shell} here")

    def said(call):
        script = f'set -eu; eval "$(sweeps shell)"; {call}'
        done = subprocess.run([shell, "-c", script], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (3, "")
        return done.stdout

    assert said('ray submit "my sweep.yaml" --set "a=b c"') == (
        "sweeps|submit|my sweep.yaml|--set|a=b c|"
    )
    assert said('ray submit cluster.yaml "a script.py" --x ""') == (
        "ray|submit|cluster.yaml|a script.py|--x||"
    )
    assert said("ray") == "ray|"
    assert said("ray job submit sweep.yaml") == "ray|job|submit|sweep.yaml|"


def test_the_function_is_printed_and_nothing_else(commands):
    done = subprocess.run(["sweeps", "shell"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, FUNCTION, "")
