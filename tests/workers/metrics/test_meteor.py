"""METEOR's Java never outlives the process that started it, and an error does not stay."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PRELUDE = """
import json, os, signal, sys, time
from workers.metrics import meteor

GOOD = {"a": ["a dog runs"], "b": ["two cats sleep"]}

def java():
    return meteor._shared._jvm._process.pid

session = meteor.METRIC.session()
session.__enter__()
first = java()
"""
ENDS = {
    "exit": "print(first)",
    "exception": "print(first); raise KeyError('oops')",
    "session": "print(first); session.__exit__(None, None, None); os._exit(0)",
}
LIFE = """
os.kill(first, signal.SIGKILL)
after_kill = meteor.METRIC.compute(GOOD, GOOD)

if os.fork() == 0:
    sys.exit()
os.wait()
after_fork = meteor.METRIC.compute(GOOD, GOOD)

child = os.fork()
if child:
    print(json.dumps([after_kill, after_fork, java(), child]), flush=True)
time.sleep(60)
"""


def _runs(pid: int) -> bool:
    """Tell whether a process runs; one that ended and waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _gone_within(seconds: float, pid: int) -> bool:
    deadline = time.monotonic() + seconds
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not _runs(pid)


@pytest.mark.parametrize("end", ENDS)
def test_java_ends_with_the_process_or_the_last_session(end: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + ENDS[end]], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == (end == "exception")
    assert ("oops" in done.stderr) == (end == "exception")
    assert not _runs(int(done.stdout))


@pytest.fixture(scope="module")
def life() -> Iterator[dict[str, Any]]:
    """Java killed, used again, used after a fork; then the process killed while a child lives."""
    process = subprocess.Popen([sys.executable, "-c", PRELUDE + LIFE], stdout=subprocess.PIPE)
    assert process.stdout
    after_kill, after_fork, java, child = json.loads(process.stdout.readline())
    ran = _runs(java)
    process.kill()
    process.wait()
    yield {
        "after_kill": after_kill,
        "after_fork": after_fork,
        "ran": ran,
        "gone": _gone_within(10, java),
        "child_lives": _runs(child),
    }
    os.kill(child, signal.SIGKILL)
    process.stdout.close()


def test_killed_java_is_started_again_in_silence(life: dict[str, Any]) -> None:
    assert life["after_kill"] == {"meteor": 1.0}


def test_forked_child_leaves_java_alone(life: dict[str, Any]) -> None:
    assert life["after_fork"] == {"meteor": 1.0}


def test_java_ends_when_the_process_is_killed_even_with_a_forked_child(
    life: dict[str, Any],
) -> None:
    assert life["ran"]
    assert life["child_lives"]
    assert life["gone"]
