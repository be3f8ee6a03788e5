"""Who drives a sweep: one driver at a time, and dead ones are known as such on any machine."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest

from sweeps.results import lease
from sweeps.results.folder import SweepFolder
from sweeps.results.lease import DrivenError, Driver


@pytest.fixture
def folder(tmp_path):
    return SweepFolder.create(tmp_path, "driven")


def write(folder, silent=0.0, **changes):
    """Leave a driver's file as another process would."""
    driver = replace(Driver.this(), **changes)
    folder.driver.write_text(json.dumps(asdict(driver)))
    then = time.time() - silent
    os.utime(folder.driver, (then, then))
    return driver


def test_a_driver_is_known_while_it_lives_and_leaves_nothing(folder):
    assert lease.living(folder) is None
    with lease.held(folder):
        assert lease.living(folder).pid == os.getpid()
    assert lease.read(folder) is None
    assert {path.name for path in folder.path.iterdir()} <= {"driver.lock"}


def test_a_second_driver_is_refused_and_told_who_and_since_when(folder):
    with lease.held(folder):
        driver = lease.read(folder)
        with pytest.raises(DrivenError) as refused, lease.held(folder):
            pass
        assert lease.read(folder) == driver
    for word in (f"process {os.getpid()}", socket.gethostname(), driver.since, "driven-1"):
        assert word in str(refused.value)


def test_a_driver_that_was_killed_is_dead_at_once(folder):
    code = f"""
import time
from pathlib import Path
from sweeps.results import lease
from sweeps.results.folder import SweepFolder
with lease.held(SweepFolder(root=Path({str(folder.root)!r}), sweep_id="driven-1")):
    print("held", flush=True)
    time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        assert lease.living(folder).pid == process.pid
    finally:
        process.kill()
        process.wait()
    assert lease.read(folder).pid == process.pid
    assert lease.living(folder) is None
    with lease.held(folder):
        assert lease.living(folder).pid == os.getpid()


def test_a_later_process_with_the_same_id_is_not_the_driver(folder):
    write(folder, started=1.0)
    assert lease.living(folder) is None


@pytest.mark.parametrize(("silent", "lives"), [(1.0, True), (lease.STALE_SECONDS + 5, False)])
def test_a_driver_on_another_machine_lives_while_it_is_heard_of(folder, silent, lives):
    write(folder, silent, host="elsewhere", pid=1)
    assert (lease.living(folder) is not None) == lives
    assert [path.name for path in folder.path.iterdir()] == ["driver.json"]


def test_a_driver_says_again_and_again_that_it_lives(folder, monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.01)
    with lease.held(folder):
        os.utime(folder.driver, (1.0, 1.0))
        deadline = time.monotonic() + 20
        while folder.driver.stat().st_mtime == 1.0:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def be_taken_over(folder):
    write(folder, host="elsewhere", token="another")
    time.sleep(20)


def test_a_driver_whose_sweep_was_taken_over_is_interrupted(folder, monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.01)
    # A process that a script put into the background ignores Ctrl-C from its start on.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt), lease.held(folder):
        be_taken_over(folder)
    signal.signal(signal.SIGINT, before)
    assert lease.read(folder).token == "another"


def test_a_broken_file_that_nobody_touches_is_no_driver(folder):
    folder.driver.write_text('{"host": ')
    os.utime(folder.driver, (1.0, 1.0))
    assert lease.living(folder) is None
    with lease.held(folder):
        assert lease.living(folder) is not None
