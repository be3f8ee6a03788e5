"""A sweep on a real cluster of one node: submitted, left alone, found again, stopped, resumed."""

import os
import pty
import re
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest
from PIL import Image

from benchmarks import exposure, kills
from benchmarks.clusters import TOKEN, environment, local_cluster
from sweeps.board.handle import SweepHandle
from sweeps.results import inbox
from sweeps.results.folder import SweepFolder

pytestmark = pytest.mark.slow

LONGEST_SECONDS = 300.0
PLANTED = "planted-7f3a"


def until(true, what):
    deadline = time.monotonic() + LONGEST_SECONDS
    while not true():
        assert time.monotonic() < deadline, what()
        time.sleep(0.2)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster of one node."""
    keys = {"AWS_ACCESS_KEY_ID": PLANTED, "AWS_SECRET_ACCESS_KEY": PLANTED}
    with local_cluster(tmp_path_factory.mktemp("head"), cores=2, **keys) as cluster:
        until(
            lambda: (
                called(tmp_path_factory.getbasetemp(), "jobs", "--address", cluster.dashboard)[0]
                == 0
            ),
            lambda: "the dashboard lists no jobs",
        )
        yield cluster


@pytest.fixture(scope="module")
def head(cluster):
    """The address of the cluster."""
    return cluster.dashboard


def start(folder, *arguments, **more):
    return subprocess.Popen(
        [sys.executable, "-c", "from sweeps.cli.app import main; main()", *arguments],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=environment(**more),
    )  # fmt: skip


def called(folder, *arguments):
    process = start(folder, *arguments)
    output, _ = process.communicate(timeout=LONGEST_SECONDS)
    return process.returncode, output


def follow_on_a_terminal(folder, *arguments):
    """Follow a job until its table is there, then close the terminal; return what it showed."""
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        # Whoever runs the tests under nohup ignores the signal, and so would all that they start.
        ["env", "--default-signal=HUP", "setsid", "--ctty", sys.executable, "-c",
         "from sweeps.cli.app import main; main()", "logs", *arguments, "--follow"],
        cwd=folder, stdin=terminal, stdout=terminal, stderr=terminal,
        env=environment(TERM="xterm", COLUMNS="120", LINES="40"),
    )  # fmt: skip
    os.close(terminal)
    shown = ""
    while not re.search(r"trial-000.* \d/6 ", shown):
        shown += os.read(master, 4096).decode(errors="replace")
    os.close(master)
    assert process.wait(timeout=60) == -signal.SIGHUP, shown
    return shown


@pytest.fixture(scope="module")
def working(tmp_path_factory, untrained_base):
    """A working folder with a sweep file and the base that it names by a relative path."""
    folder = tmp_path_factory.mktemp("working")
    kills.prepare(folder, "base", trials=4, slots=1, epochs=6, schedule="name: fifo")
    shutil.copytree(untrained_base, folder / "base")
    return folder


def test_a_sweep_outlives_its_client_stops_and_goes_on(head, working):
    results = working / "sweep-results"
    send = ("submit", "killed.yaml", "--address", head, "--results", str(results))

    # The client is killed as soon as it has shown a rung.
    client = start(working, *send, "--idempotency-key", "one")
    shown = ""
    for line in client.stdout:
        shown += line
        if re.match(r"trial-\d+ .*  rung 1/6 loss", line):
            client.send_signal(signal.SIGKILL)
    client.wait()
    assert client.returncode == -signal.SIGKILL, shown
    assert "submitted as killed-one" in shown
    assert "sends the sweep file and" in shown
    assert "base/model.safetensors" in shown

    # The sweep goes on, and is found again. It is paused, lest it end before it is stopped.
    before = kills.recorded(working)
    until(
        lambda: kills.recorded(working) > before,
        lambda: called(working, "logs", "killed-one", "--address", head)[1],
    )
    folder = SweepFolder.find(results, "killed-1")
    inbox.pause(folder)
    code, listed = called(working, "jobs", "--address", head)
    assert code == 0
    assert re.search(r"killed-one +running", listed)
    assert "rung 1/6 loss" in called(working, "logs", "killed-one", "--address", head)[1]

    # It goes on also after the terminal of whoever follows it was closed.
    follow_on_a_terminal(working, "killed-one", "--address", head)
    before = kills.recorded(working)
    inbox.unpause(folder)
    until(lambda: kills.recorded(working) > before, lambda: "no further rung")
    inbox.pause(folder)

    # A second one of the name is refused; the same key is the same job.
    code, said = called(working, *send)
    assert (code, "a sweep called killed runs" in said) == (2, True), said
    code, said = called(working, *send, "--idempotency-key", "one", "--no-wait")
    assert (code, said) == (0, "killed-one was submitted before and is running\n")

    # It is stopped, and keeps its state.
    code, said = called(working, "stop", "killed-one", "--address", head)
    assert (code, said.startswith("stopped; resume with: ")) == (0, True), said
    log = called(working, "logs", "killed-one", "--address", head)[1]
    assert "Go on with: sweeps resume killed-1" in log, log
    kept = kills.recorded(working)
    assert not folder.driver.exists()
    code, said = called(working, *send)
    assert (code, "error: killed-1 is half-finished" in said) == (2, True), said

    # It goes on to its end, and nothing was done twice.
    code, said = called(working, *send, "--resume")
    assert code == 0, said
    assert "killed-1: 4/4 trials" in said
    assert sorted(path.parent.name for path in results.glob("*/sweep.yaml")) == ["killed-1"]
    assert kills.recorded(working) > kept
    left = kills.left(working)
    assert (len(left.table), left.repeated, left.unequal, left.doctor) == (4, 0, 0, "")
    assert len(list((results / "inputs").iterdir())) == 1


def test_run_submit_and_the_line_for_ray_alone_give_the_same_table(head, working, tmp_path):
    """To the last digit, with the same file, seed and slots; the file is one of a cluster.

    The line is that for Ray alone, which is pasted into a shell.
    """
    inside = textwrap.indent((working / "killed.yaml").read_text(), "    ")
    rays = "cluster_name: mine\nprovider: {type: local, head_ip: 127.0.0.1}\n"
    (working / "cluster.yaml").write_text(f"{rays}metadata:\n  sweep:\n{inside}")
    small = ("cluster.yaml", "--set", "search.trials=2", "--set", "train.epochs=2")
    places = {name: tmp_path / name / "sweep-results" for name in ("run", "submit")}
    code, said = called(working, "run", *small, "--results", str(places["run"]))
    assert code == 0, said
    there = ("--address", head, "--archive", str(tmp_path / "sent.zip"))
    code, said = called(working, "submit", *small, "--results", str(places["submit"]), *there)
    assert code == 0, said
    tables = [kills.left(results.parent).table for results in places.values()]
    assert len(tables[0]) == 2
    assert tables[0] == tables[1]
    line = said.partition("the same by Ray alone: ")[2].splitlines()[0]
    done = subprocess.run(line, shell=True, env=environment(), cwd=tmp_path, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    again = SweepHandle.find(places["submit"], "killed-2").board.trials
    assert [(each.title, each.state, each.score, each.rung) for each in again] == [*tables[0]]


def test_no_secret_of_the_folder_and_no_archive_is_left_anywhere(cluster, working, tmp_path):
    """The sweep reads a table and its images; what lies beside them reaches nobody."""
    address = cluster.dashboard
    place = tmp_path / "place"
    shutil.copytree(working, place, ignore=shutil.ignore_patterns("sweep-results"))
    rows = [f"{number}.png,a dark square" for number in range(12)]
    (place / "captions.csv").write_text("\n".join(["image,caption", *rows]))
    (place / "images").mkdir()
    for number in range(12):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(place / "images" / f"{number}.png")
    (place / ".aws").mkdir()
    for name in (".aws/credentials", "hf_token", "id_ed25519", "prod.env", "images/notes.txt"):
        (place / name).write_text(PLANTED)
    results, cache = tmp_path / "results", tmp_path / "cache"
    words = ("data.source=csv", "data.path=captions.csv", "data.limit=null", "search.trials=1",
             "train.epochs=1", "name=planted")  # fmt: skip
    overrides = [word for each in words for word in ("--set", each)]
    send = ("submit", "killed.yaml", *overrides, "--address", address, "--results", str(results))
    client = start(place, *send, SWEEPS_CACHE=str(cache), HF_TOKEN=PLANTED)
    node = cluster.nodes[0].pid
    with exposure.Watch(client.pid) as sender, exposure.Watch(node) as receivers:
        said, _ = client.communicate(timeout=LONGEST_SECONDS)
    assert client.returncode == 0, said
    assert sender.sockets == set()
    commands = sender.commands | receivers.commands
    assert any("sweeps.cli.job" in line for line in commands)
    assert not [line for line in commands if PLANTED in line or TOKEN in line]
    command = psutil.Process(node).cmdline()
    rays = next(word.partition("=")[2] for word in command if word.startswith("--temp-dir="))
    left = [file for top in (rays, results, cache) for file in Path(top).rglob("*")
            if file.is_file() and not file.is_symlink()]  # fmt: skip
    assert [file for file in left if PLANTED.encode() in file.read_bytes()] == []
    assert list((cache / "parcels").iterdir()) == []
    unpacked = Path(rays).glob("*/runtime_resources/working_dir_files/*/inputs/captions.csv")
    assert {stat.S_IMODE(file.stat().st_mode) for file in unpacked} == {0o600}
    (inputs,) = results.glob("inputs/*")
    assert stat.S_IMODE(inputs.parent.stat().st_mode) == 0o700
    assert sorted(
        file.name for file in inputs.rglob("*.*") if file.parent.name != "base"
    ) == sorted(["captions.csv", *(f"{number}.png" for number in range(12))])


LACKING = {
    "model.base=/shared/no-such-base": "model.base: /shared/no-such-base must be on every",
    "resources.device=gpu": "resources.device: wants a GPU, and there is none",
    "resources.hosts=64": "resources.hosts must be at most the 2 cores of the cluster's 1",
}


def test_what_the_cluster_lacks_is_told_and_nothing_is_left(cluster, working, tmp_path):
    address = cluster.dashboard
    for override, said in LACKING.items():
        words = ("--results", str(tmp_path), "--set", override, "--set", "name=lost")
        code, told = called(working, "submit", "killed.yaml", "--address", address, *words)
        assert code == 2, told
        assert f"error: {said}" in told
        assert "Traceback" not in told
    listed = called(working, "jobs", "--address", address)[1]
    assert len(re.findall(r"lost-\S+ +failed", listed)) == len(LACKING), listed
    children = psutil.Process(cluster.nodes[0].pid).children(recursive=True)
    assert not [child for child in children if "Host" in child.name()]
