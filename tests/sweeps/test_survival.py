"""Sweeps that are stopped, whose processes die, or that are simply run twice."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweeps.board.earlier import EarlierSweep
from sweeps.run_lookup import run_ids

pytestmark = pytest.mark.slow

FILE = """
name: kept
model: {{base: {base}}}
data: {{source: shapes, limit: 60, split: {{train: 0.5, validation: 0.25, test: 0.25}}}}
train: {{epochs: 6, batch_size: 4}}
adapter: {{dropout: 0.1}}
evaluate: {{metrics: [exact_match], max_new_tokens: 4}}
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
    return [child for child in children(pid) if command_line(child).startswith(name.encode())]


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # ended
        return b""


def children(pid):
    """Return the processes below `pid`."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # ended meanwhile
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])

    def below(child):
        while child in parents and child != pid:
            child = parents[child]
        return child == pid

    return [child for child in parents if below(child)]


def curves(workplace, sweep_id):
    """Every trial's validation losses by rung, read from MLflow."""
    root = workplace / "sweep-results"
    earlier = EarlierSweep.find(root, sweep_id)
    runs = run_ids(earlier.run)
    return {
        trial.title: [
            (point.step, point.value)
            for point in earlier.run.client.get_metric_history(runs[trial.name], "val/loss")
        ]
        for trial in earlier.board.trials
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, untrained_base):
    """The curves of the sweep when nothing happens to it."""
    workplace = workplace_in(tmp_path_factory.mktemp("undisturbed"), untrained_base)
    code, output = finish(workplace, "run", "kept.yaml")
    assert code == 0, output
    return curves(workplace, "kept-1")


def test_the_same_file_and_seed_give_the_same_trials_and_scores(workplace, undisturbed):
    code, output = finish(workplace, "run", "kept.yaml")
    assert code == 0, output
    assert curves(workplace, "kept-1") == undisturbed
    assert len(undisturbed) == 3
    assert all([step for step, _ in curve] == list(range(7)) for curve in undisturbed.values())


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_sweep_goes_on_as_if_nothing_had_happened(workplace, undisturbed, stop):
    process = start(workplace, "run", "kept.yaml")
    wait_for(workplace, "kept-1/trials/trial-001/rung-002")
    process.send_signal(stop)
    output, _ = process.communicate(timeout=300)
    if stop != signal.SIGKILL:
        assert process.returncode == 130, output
        assert "sweeps resume kept-1" in output
    code, output = finish(workplace, "resume", "kept-1")
    assert code == 0, output
    after = curves(workplace, "kept-1")
    assert {title: after[title] for title in undisturbed} == undisturbed


def test_trials_go_on_when_their_host_dies(workplace, undisturbed):
    process = start(workplace, "run", "kept.yaml")
    wait_for(workplace, "kept-1/trials/trial-001/rung-002")
    (host,) = descendants(process.pid, "ray::HostActor")
    os.kill(host, signal.SIGKILL)
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    assert curves(workplace, "kept-1") == undisturbed


@pytest.mark.parametrize("stop", [None, signal.SIGINT, signal.SIGKILL])
def test_no_java_outlives_its_sweep(workplace, stop):
    file = workplace / "kept.yaml"
    file.write_text(file.read_text().replace("[exact_match]", "[meteor]"))
    process = start(workplace, "run", "kept.yaml", "--set", "search.trials=1")
    wait_for(workplace, "kept-1/trials/trial-000/rung-002")
    java = [pid for pid in children(process.pid) if b"meteor" in command_line(pid)]
    assert len(java) == 1
    if stop:
        process.send_signal(stop)
    process.communicate(timeout=900)
    deadline = time.monotonic() + 60
    while b"meteor" in command_line(java[0]):
        assert time.monotonic() < deadline, "METEOR's Java is still there"
        time.sleep(0.1)
