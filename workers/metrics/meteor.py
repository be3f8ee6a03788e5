"""METEOR 1.5 (Denkowski and Lavie 2014) for English, by the jar that pycocoevalcap ships.

Starting the jar costs about 7 CPU-seconds and 0.6 GiB, scoring 1000 captions about 1 CPU-second.
So one JVM serves the whole process and stays alive between calls. pycocoevalcap's own wrapper
speaks the same protocol, but after any error it holds its lock for ever and hangs at exit.
"""

import atexit
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

from workers.metrics.java import command, jar_folder
from workers.metrics.meteor_formula import STATISTICS, pool, summable
from workers.metrics.metric import Array, Captions, Metric, Rows
from workers.metrics.rows import table

T = TypeVar("T")

_ARGUMENTS = ("-Xmx2G", "-jar", "meteor-1.5.jar", "-", "-", "-stdio", "-l", "en", "-norm")
_SEPARATOR = " ||| "


class JavaDiedError(RuntimeError):
    """METEOR's Java ended before it answered."""


class _Jvm:
    """One run of the jar: a line in, a line out. It ends when its stdin is closed."""

    def __init__(self) -> None:
        # A file: nobody reads a stderr pipe, and once full it would block Java for ever.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            command(*_ARGUMENTS),
            cwd=jar_folder("pycocoevalcap.meteor"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            process_group=0,  # Ctrl-C in the terminal is for this process to handle
        )
        assert self._process.stdin
        assert self._process.stdout
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    def ask(self, *fields: str) -> str:
        """Send one request and return the first line of its answer."""
        try:
            self._stdin.write(f"{_SEPARATOR.join(fields)}\n".encode())
            self._stdin.flush()
        except BrokenPipeError:
            raise self._death() from None
        return self.read()

    def read(self) -> str:
        """Return one more line of the answer; raises JavaDiedError when Java has ended."""
        line = self._stdout.readline()
        if not line:
            raise self._death()
        return line.decode().strip()

    def kill(self) -> None:
        """End Java at once and wait until it is gone."""
        self._process.kill()
        self._process.wait()
        with suppress(OSError):  # what was still unsent has no reader any more
            self._stdin.close()
        self._stdout.close()
        self._stderr.close()

    def abandon(self) -> None:
        """In a forked child: let go of the pipes without a word to the parent's Java."""
        with open(os.devnull, "r+b") as null:
            for pipe in (self._stdin, self._stdout):  # closing them would send what is unsent
                os.dup2(null.fileno(), pipe.fileno(), inheritable=False)

    def _death(self) -> "JavaDiedError":
        code = self._process.wait()
        self._stderr.seek(0)
        said = self._stderr.read().decode(errors="replace").strip()[-500:]
        return JavaDiedError(
            f"METEOR's Java ended with code {code}, also after a fresh start; it said {said!r}. "
            "It needs 0.7 GiB of free memory: code -9 mostly means that the system took it away"
        )


class _SharedJvm:
    """The one JVM of this process: started when first needed, killed on any error."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jvm: _Jvm | None = None
        self._sessions = 0

    @contextmanager
    def session(self) -> Iterator[None]:
        """Start the JVM without waiting for it, and close it with the last open session."""
        with self._lock:
            self._started()
            self._sessions += 1
        try:
            yield
        finally:
            with self._lock:
                self._sessions -= 1
                if not self._sessions:
                    self.close()

    def do(self, work: Callable[[_Jvm], T]) -> T:
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

    def _once(self, work: Callable[[_Jvm], T]) -> T:
        try:
            return work(self._started())
        except BaseException:  # half an answer may be left in the pipe, after Ctrl-C too
            self.close()
            raise

    def _started(self) -> _Jvm:
        if self._jvm is None:
            self._jvm = _Jvm()
        return self._jvm


_shared = _SharedJvm()
atexit.register(_shared.close)
os.register_at_fork(after_in_child=_shared.forget)


def _bind(references: Captions, whole: Captions) -> Rows:
    def rows(candidates: Captions) -> Array:
        """Return the jar's statistics of each image, and behind them its score."""

        def ask(jvm: _Jvm) -> Array:
            answers = [
                jvm.ask("SCORE", *references[image], caption)
                for image, (caption,) in candidates.items()
            ]
            scores = _evaluated(jvm, answers)[:-1]
            return table(
                [*summable(answer), score] for answer, score in zip(answers, scores, strict=True)
            )

        return _shared.do(ask)

    return rows


def _evaluated(jvm: _Jvm, statistics: Sequence[str]) -> list[float]:
    """Return the jar's score of each row of statistics, and at last that of all together."""
    first = jvm.ask("EVAL", *statistics)
    return [float(first), *(float(jvm.read()) for _ in statistics)]


def _finish(statistics: Array) -> tuple[dict[str, float], dict[str, Array]]:
    """Return the jar's own scores: that of the corpus is the one of the summed statistics."""
    total = " ".join(map(str, statistics[:, :STATISTICS].sum(axis=0).tolist()))
    corpus = _shared.do(lambda jvm: _evaluated(jvm, [total])[-1])
    return {"meteor": corpus}, {"meteor": statistics[:, STATISTICS]}


METRIC = Metric(
    name="meteor",
    outputs=("meteor",),
    bind=_bind,
    pool=pool,
    finish=_finish,
    session=_shared.session,
)
