"""A sweep that is told to stop while its host is in the middle of a long rung."""

import os
import signal
import time

import psutil
import pytest

from benchmarks import kills
from sweeps.results import inbox, lease
from sweeps.results.folder import SweepFolder
from sweeps.tracking.client import Tracking
from sweeps.tracking.sweep_run import SweepRun

pytestmark = pytest.mark.slow

SECONDS = 20.0
"""Twice of what is promised: other tests may keep the machine busy."""
FIELDS = ("train.batch_size=1", "evaluate.limit=8", "evaluate.final_limit=8")
DATA = "data: {source: shapes, limit: 240, split: {train: 0.8, validation: 0.1, test: 0.1}}"


@pytest.fixture
def started(tmp_path, untrained_base):
    """A host that begins, to train a rung of a quarter of a minute: (workplace, driver)."""
    place = kills.prepare(tmp_path / "place", untrained_base, trials=1, slots=1, epochs=1)
    text = (place / "killed.yaml").read_text()
    lines = [DATA if line.startswith("data:") else line for line in text.splitlines()]
    (place / "killed.yaml").write_text("\n".join(lines))
    process = kills.start(
        place, "run", "killed.yaml", *(word for field in FIELDS for word in ("--set", field))
    )
    yield place, process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for(process, happened):
    deadline = time.monotonic() + 150
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture
def begun(started):
    """The same, once the trial is in its epoch."""
    place, process = started
    opened = SweepFolder(root=place / "sweep-results", sweep_id=kills.ID).path / "trials"
    wait_for(process, lambda: list(opened.glob("*/opening")))
    time.sleep(2)  # the untrained adapter is scored
    return started


def stopped(place, process, stop):
    """Stop a sweep, and return what its driver said once it has ended in time."""
    began = time.monotonic()
    stop()
    said, _ = process.communicate(timeout=150)
    assert time.monotonic() - began < SECONDS, said
    assert (process.returncode, "rror" in said) == (130, False), said
    assert kills.recorded(place) == 0, said  # what was in flight is lost, as it must be
    assert lease.read(SweepFolder.find(place / "sweep-results", kills.ID)) is None
    return said


def test_a_request_ends_it_at_once_and_it_goes_on(begun):
    place, process = begun
    folder = SweepFolder.find(place / "sweep-results", kills.ID)
    said = stopped(place, process, lambda: inbox.post(folder, inbox.Request(kind="stop")))
    assert f"Go on with: sweeps resume {kills.ID}" in said

    code, said = kills.command(place, "resume", kills.ID)
    assert code == 0, said
    left = kills.left(place)
    assert [state for _, state, *_ in left.table] == ["completed"]
    assert (left.repeated, left.unequal, left.doctor) == (0, 0, "")


def test_so_does_the_signal_of_whoever_ends_processes(begun):
    stopped(*begun, begun[1].terminate)


def test_a_signal_while_hosts_begin_ends_it_as_interrupted(started):
    place, process = started

    def hosts():
        children = psutil.Process(process.pid).children(recursive=True)
        return [child for child in children if "HostActor" in "".join(child.cmdline())]

    wait_for(process, hosts)
    process.terminate()
    said, _ = process.communicate(timeout=150)
    assert process.returncode == 130, said
    tracking = Tracking(uri=None, experiment="killed", root=place / "sweep-results")
    parent = SweepRun.find(tracking, kills.ID)
    assert parent.client.get_run(parent.run_id).data.tags["sweep.state"] == "interrupted"
    assert lease.read(SweepFolder.find(place / "sweep-results", kills.ID)) is None
