"""Sweeps that are stopped, whose processes die, or that are simply run twice."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from sweeps.board.handle import SweepHandle

pytestmark = pytest.mark.slow

FILE = """
name: kept
model: {{base: {base}}}
data: {{source: shapes, limit: 60, split: {{train: 0.5, validation: 0.25, test: 0.25}}}}
train: {{epochs: 6, batch_size: 4}}
adapter: {{dropout: 0.1}}
evaluate: {{metrics: [meteor], max_new_tokens: 4}}      # which a Java process scores
guard: {{stop: false}}                    # the base is untrained and has few words
search:
  space:
    adapter.rank: {{choice: [2, 4, 8]}}
    train.learning_rate: {{log_uniform: [1e-3, 1e-2]}}
  objective: {{metric: loss}}
  trials: 3
schedule: {{name: fifo}}
resources: {{hosts: 1, slots: 1}}
"""


def workplace_in(folder, base):
    (folder / "kept.yaml").write_text(FILE.format(base=base))
    return folder


@pytest.fixture
def workplace(tmp_path, untrained_base):
    return workplace_in(tmp_path, untrained_base)


def start(workplace, *arguments):
    """Begin a command of the CLI in its own process group, as a terminal does."""
    return subprocess.Popen(
        [sys.executable, "-c", "from sweeps.cli.app import main; main()", *arguments],
        cwd=workplace,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def finish(workplace, *arguments):
    """Run a command of the CLI to its end: (exit code, output)."""
    process = start(workplace, *arguments)
    output, _ = process.communicate(timeout=900)
    return process.returncode, output


def wait_for(workplace, pattern, seconds=400.0):
    """Wait until a file appears below the results."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if list((workplace / "sweep-results").glob(pattern)):
            return
        time.sleep(0.05)
    raise AssertionError(f"no {pattern} after {seconds} seconds")


def descendants(pid, name):
    """Return the processes below `pid` whose command line begins with `name`."""
    return [child for child in children(pid) if command_line(child).startswith(name)]


def command_line(pid):
    with contextlib.suppress(psutil.NoSuchProcess):  # ended
        return " ".join(psutil.Process(pid).cmdline())
    return ""


def children(pid):
    """Return the processes below `pid`."""
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def curves(workplace, sweep_id):
    """Every trial's validation losses by rung, read from MLflow."""
    root = workplace / "sweep-results"
    earlier = SweepHandle.find(root, sweep_id)
    runs = earlier.run.run_ids()
    return {
        trial.title: [
            (point.step, point.value)
            for point in earlier.run.client.get_metric_history(runs[trial.name], "val/loss")
        ]
        for trial in earlier.board.trials
    }


def java_of(process):
    """Return the process that scores METEOR for a driver."""
    (java,) = [pid for pid in children(process.pid) if "meteor" in command_line(pid)]
    return java


def wait_for_the_end_of(java):
    deadline = time.monotonic() + 60
    while "meteor" in command_line(java):
        assert time.monotonic() < deadline, "METEOR's Java is still there"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, untrained_base):
    """The curves of the sweep when nothing happens to it."""
    workplace = workplace_in(tmp_path_factory.mktemp("undisturbed"), untrained_base)
    process = start(workplace, "run", "kept.yaml")
    wait_for(workplace, "kept-1/trials/trial-000/rung-002")
    java = java_of(process)
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    wait_for_the_end_of(java)
    return curves(workplace, "kept-1")


def test_every_trial_has_the_loss_of_every_rung_from_0_on(undisturbed):
    assert len(undisturbed) == 3
    assert all([step for step, _ in curve] == list(range(7)) for curve in undisturbed.values())


def test_a_sweep_whose_host_and_driver_end_in_turn_goes_on_as_if_nothing_had_happened(
    workplace, undisturbed
):
    """The same file and seed give the same trials and scores, whatever dies; no Java stays."""
    command = ("run", "kept.yaml")
    for stop, moment in (
        (signal.SIGINT, "trial-001/rung-001"),
        (signal.SIGTERM, "trial-001/rung-005"),
        (signal.SIGKILL, "trial-002/rung-002"),
    ):
        process = start(workplace, *command)
        if stop is signal.SIGINT:
            wait_for(workplace, "kept-1/trials/trial-000/rung-002")
            (host,) = descendants(process.pid, "ray::HostActor")
            os.kill(host, signal.SIGKILL)
        wait_for(workplace, f"kept-1/trials/{moment}")
        java = java_of(process)
        process.send_signal(stop)
        output, _ = process.communicate(timeout=300)
        wait_for_the_end_of(java)
        if stop is not signal.SIGKILL:
            assert process.returncode == 130, output
            assert "sweeps resume kept-1" in output
        command = ("resume", "kept-1")
    code, output = finish(workplace, *command)
    assert code == 0, output
    assert curves(workplace, "kept-1") == undisturbed
