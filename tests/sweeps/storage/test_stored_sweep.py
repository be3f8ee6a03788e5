"""Whole sweeps whose results live in an S3 store; each process works on a copy of its own."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress

import psutil
import pytest

from benchmarks.server import free_port
from sweeps.storage.store import Storage
from sweeps.tracking.client import Tracking
from sweeps.tracking.sweep_run import SweepRun
from workers.files import cache

pytestmark = pytest.mark.slow

FILE = """
name: stored
model: {{base: {base}}}
data: {{source: shapes, limit: 48, split: {{train: 0.5, validation: 0.25, test: 0.25}}}}
train: {{epochs: {epochs}, batch_size: 4}}
evaluate: {{metrics: [exact_match], max_new_tokens: 4}}
guard: {{stop: false}}                    # the base is untrained and has few words
search:
  space:
    adapter.rank: {{choice: [2, 4, 8]}}
    train.learning_rate: {{log_uniform: [1e-3, 1e-2]}}
  objective: {{metric: loss}}
  trials: {trials}
schedule: {{name: {schedule}}}
resources: {{hosts: 2}}
storage: {address}
tracking: {{uri: "{uri}", experiment: {experiment}}}
"""
SWEEP = "stored-1"
SECONDS = 240.0
_numbers = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Address of an MLflow server, where each test's sweep has an experiment of its own."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder}/tracking.db",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
    }
    code = f"from mlflow.server import app; app.run(port={port}, threaded=True)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    for _ in range(600):
        with suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            break
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


class Workplace:
    """A folder in which commands are run, and the store that their sweep is in."""

    def __init__(self, path, address, tracking):
        self.path, self.storage, self.tracking = path, Storage(address), tracking
        self.process = None

    def start(self, *arguments):
        with (self.path / "log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from sweeps.cli.app import main; main()", *arguments],
                cwd=self.path, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env={**os.environ, "COLUMNS": "300", "RAY_AUTH_MODE": "disabled"},
            )  # fmt: skip

    def command(self, *arguments):
        """Run a command to its end; return its exit code and what it printed."""
        before = len(self.output())
        self.start(*arguments)
        return self.process.wait(timeout=SECONDS), self.output()[before:]

    def output(self):
        log = self.path / "log"
        return log.read_text() if log.exists() else ""

    def wait_for(self, holds):
        deadline = time.monotonic() + SECONDS
        while not holds():
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.2)

    def rungs(self):
        """Trial -> its rungs on record in the store."""
        records = [key for key in self.storage.files(SWEEP) if key.endswith("rungs.jsonl")]
        texts = {key.split("/")[1]: self.storage.read(f"{SWEEP}/{key}") for key in records}
        return {
            trial: [line["rung"] for line in map(json.loads, text.splitlines()) if "rung" in line]
            for trial, text in texts.items()
        }

    def tracked(self):
        """Trial -> its rungs in MLflow."""
        parent = SweepRun.find(self.tracking, SWEEP)
        history = parent.client.get_metric_history
        return {
            run.data.tags["trial.id"]: [
                point.step for point in history(run.info.run_id, "val/loss") if point.step
            ]
            for run in parent.trials()
        }


@pytest.fixture
def workplace(tmp_path, address, server, untrained_base):
    """Return a function that writes the sweep file."""
    made = []

    def make(**values):
        experiment = f"stored-{next(_numbers)}"
        given = {"trials": 4, "epochs": 3, "schedule": "fifo", "experiment": experiment, **values}
        text = FILE.format(base=untrained_base, address=address, uri=server, **given)
        (tmp_path / "stored.yaml").write_text(text)
        tracking = Tracking(uri=server, experiment=experiment, root=tmp_path)
        made.append(Workplace(tmp_path, address, tracking))
        return made[-1]

    yield make
    for each in made:
        if each.process and each.process.poll() is None:
            each.process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                each.process.wait(30)
            each.process.kill()


def copies_of(tmp_path):
    return tmp_path / "cache" / "storage"


def test_a_sweep_in_a_store_is_seen_from_any_machine(workplace, address, tmp_path, monkeypatch):
    """A population, whose trials take over snapshots of each other."""
    place = workplace(schedule="pbt, options: {perturbation_interval: 1}")
    code, output = place.command("run", "stored.yaml")
    assert code == 0, output
    assert f"{SWEEP} in {address}/{SWEEP}" in output
    every = {f"trial-{number:03d}": [1, 2, 3] for number in range(4)}
    assert place.rungs() == place.tracked() == every
    assert not (tmp_path / "sweep-results").exists()
    population = place.storage.read(f"{SWEEP}/population.jsonl").decode()
    assert population.count('"donor"') >= 2
    # Snapshots of ended trials are gone, and nothing of the hosts stays here.
    files = place.storage.files(SWEEP)
    assert not [key for key in files if "/rung-" in key or "/donated-" in key]
    (of_this,) = copies_of(tmp_path).iterdir()
    assert {path.name for path in of_this.iterdir()} == {"driver", "trials"}

    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "another-machine"))
    for arguments, words in [
        (("status", SWEEP), "ended"), (("status",), SWEEP), (("doctor", SWEEP), ""),
        (("compare", SWEEP), "trial-000"), (("sync",), "nothing waits"),
    ]:  # fmt: skip
        code, output = place.command(*arguments, "--results", address)
        assert (code, words in output) == (0, True), output
    code, output = place.command("status", "stored-2", "--results", address)
    assert code != 0
    assert f"no sweep 'stored-2' in {address}; there are {SWEEP}" in output


def hosts_of(process):
    """The processes of the hosts of a sweep on this machine."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "HostActor" in child.name() + str(child.cmdline()[:1])]


def test_a_sweep_whose_host_and_then_whose_machine_is_lost_goes_on_from_the_store(
    workplace, address, tmp_path
):
    place = workplace(epochs=8)
    place.start("run", "stored.yaml")
    place.wait_for(lambda: len([rungs for rungs in place.rungs().values() if len(rungs) > 1]) >= 2)
    os.kill(hosts_of(place.process)[0].pid, signal.SIGKILL)
    place.wait_for(lambda: max(map(len, place.rungs().values())) > 4)
    for process in psutil.Process(place.process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    place.process.kill()
    place.process.wait()
    shutil.rmtree(copies_of(tmp_path))
    before = place.rungs()
    code, output = place.command("resume", SWEEP, "--results", address)
    assert code == 0, output
    every = {f"trial-{number:03d}": list(range(1, 9)) for number in range(4)}
    assert place.rungs() == place.tracked() == every
    assert before != every
    assert place.command("doctor", SWEEP, "--results", address)[0] == 0, place.output()
