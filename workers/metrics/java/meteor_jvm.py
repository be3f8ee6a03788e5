"""METEOR's Java process: started when first needed, kept alive, and never left behind.

pycocoevalcap's own wrapper speaks the same protocol, but after any error it holds its lock for
ever and hangs at exit.
"""

import atexit
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from weakref import WeakSet

from workers.metrics.java.runtime import command, environment, jar_folder

T = TypeVar("T")

_ARGUMENTS = ("-Xmx2G", "-jar", "meteor-1.5.jar", "-", "-", "-stdio", "-l", "en", "-norm")
_AHEAD = 64
"""Requests that are sent before their answers are read, which fit into a pipe."""


class JavaDiedError(RuntimeError):
    """METEOR's Java ended before it answered, and so did the one started in its place."""


class Jvm:
    """One run of the jar with a table of paraphrases: a line in, a line out, until stdin closes."""

    def __init__(self, paraphrases: Path) -> None:
        # A file: nobody reads a stderr pipe, and once full it would block Java for ever.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            command(*_ARGUMENTS, "-a", str(paraphrases)),
            cwd=jar_folder("pycocoevalcap.meteor"),
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            process_group=0,  # Ctrl-C in the terminal is for this process to handle
        )
        assert self._process.stdin
        assert self._process.stdout
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    @property
    def pid(self) -> int:
        """Process id of Java."""
        return self._process.pid

    def score(self, captions: Sequence[tuple[Sequence[str], str]]) -> list[str]:
        """Return the statistics of each pair of references and caption, as the jar writes them."""
        answers: list[str] = []
        for start in range(0, len(captions), _AHEAD):
            some = captions[start : start + _AHEAD]
            self._send("".join(_line("SCORE", *texts, caption) for texts, caption in some))
            answers += [self._read() for _ in some]
        return answers

    def evaluate(self, statistics: Sequence[str]) -> list[float]:
        """Return the score of each line of statistics, and at last that of all together."""
        self._send(_line("EVAL", *statistics))
        return [float(self._read()) for _ in range(len(statistics) + 1)]

    def kill(self) -> None:
        """End Java at once and wait until it is gone."""
        self._process.kill()
        self._process.wait()
        with suppress(OSError):  # what was still unsent has no reader any more
            self._stdin.close()
        self._stdout.close()
        self._stderr.close()

    def abandon(self) -> None:
        """In a forked child: close the pipes without sending anything to the parent's Java."""
        with open(os.devnull, "r+b") as null:
            for pipe in (self._stdin, self._stdout):  # closing them would send what is unsent
                os.dup2(null.fileno(), pipe.fileno(), inheritable=False)

    def _send(self, lines: str) -> None:
        try:
            self._stdin.write(lines.encode("utf-8", "replace"))
            self._stdin.flush()
        except BrokenPipeError:
            raise self._death() from None

    def _read(self) -> str:
        line = self._stdout.readline()
        if not line.endswith(b"\n"):
            raise self._death()
        return line.decode().strip()

    def _death(self) -> JavaDiedError:
        code = self._process.wait()
        self._stderr.seek(0)
        output = self._stderr.read().decode(errors="replace").strip()[-500:]
        return JavaDiedError(
            f"METEOR's Java ended with code {code}, as did the one before it: {output!r}. "
            "It needs up to 0.6 GiB of free memory; code -9 mostly means that there was less"
        )


class MeteorServer:
    """The JVM of one table of paraphrases; threads that share it take turns."""

    def __init__(self, paraphrases: Path) -> None:
        self._paraphrases = paraphrases
        self._lock = threading.Lock()
        self._jvm: Jvm | None = None
        _servers.add(self)

    @property
    def pid(self) -> int | None:
        """Process id of Java while it runs."""
        return self._jvm.pid if self._jvm else None

    @contextmanager
    def session(self) -> Iterator[None]:
        """Start the JVM without waiting for it, and end it in the end."""
        with self._lock:
            self._started()
        try:
            yield
        finally:
            with self._lock:
                self.close()

    def do(self, work: Callable[[Jvm], T]) -> T:
        """Return what `work` gets from the JVM; should it die, from a new one, once.

        Raises JavaDiedError when the new one dies too.
        """
        with self._lock:
            try:
                return self._once(work)
            except JavaDiedError:
                return self._once(work)

    def close(self) -> None:
        """Kill the JVM, if any. Takes no lock, so that it cannot hang at interpreter exit."""
        jvm, self._jvm = self._jvm, None
        if jvm:
            jvm.kill()

    def forget(self) -> None:
        """In a forked child: the JVM is the parent's, and the lock may be held by nobody here."""
        if self._jvm:
            self._jvm.abandon()
        self._jvm, self._lock = None, threading.Lock()

    def _once(self, work: Callable[[Jvm], T]) -> T:
        try:
            return work(self._started())
        except BaseException:  # half an answer may be left in the pipe, after Ctrl-C too
            self.close()
            raise

    def _started(self) -> Jvm:
        if self._jvm is None:
            self._jvm = Jvm(self._paraphrases)
        return self._jvm


def _line(*fields: str) -> str:
    return " ||| ".join(fields) + "\n"


_servers: WeakSet[MeteorServer] = WeakSet()


def _each_server(work: Callable[[MeteorServer], None]) -> None:
    for server in list(_servers):
        work(server)


atexit.register(_each_server, MeteorServer.close)
os.register_at_fork(after_in_child=lambda: _each_server(MeteorServer.forget))
