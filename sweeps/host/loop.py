"""The one thread that touches a host, and how the threads of an actor's calls hand it work.

Many calls wait at a time, each for the rung of its trial; in between come others that are to be
answered soon. All of them are carried out by one thread: torch keeps its thread teams and much
of its state per thread, and what nobody shares needs no lock. While its slots have work, the
thread trains on, a step at a time, with the calls that have come in between two steps.
"""

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from workers.host.host import Host
    from workers.report import Report

P = ParamSpec("P")
T = TypeVar("T")

Course = Generator[str, "Report", T]
"""Work with pauses: gives a host's slot something to do, yields the slot's name, and is sent the
report, or gets the slot's error thrown in, when the host is done with it."""


class Desk:
    """A host in a thread of its own.

    Args:
        make_host: makes the host, in that thread.
    """

    def __init__(self, make_host: "Callable[[], Host]") -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="host")
        self._waiting: dict[str, tuple[Course[Any], Future[Any]]] = {}
        """By the slot that a course waits for. Only the thread looks at it."""
        self._stepping = False
        """Whether a step is on the thread's list."""
        self.host = self.do(make_host)

    def do(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Let the thread do something between two steps; return or raise what comes of it."""
        return self._thread.submit(work, *args, **kwargs).result()

    def see_through(self, course: Course[T]) -> T:
        """Let the thread follow a course to its end; return or raise what comes of it."""
        told: Future[T] = Future()
        self.do(self._go_on, course, told)
        return told.result()

    def let_go(self, slot: str, error: Exception | None = None) -> None:
        """Let the course that waits for a slot fail, if there is one. For the thread's own use."""
        if slot in self._waiting:
            error = error or RuntimeError(f"{slot} was closed in the middle of a rung")
            self._go_on(*self._waiting.pop(slot), error=error)

    def close(self) -> None:
        """End the thread after the step that it is at; what waits for it is cancelled."""
        self._thread.shutdown(cancel_futures=True)
        for _, told in self._waiting.values():
            told.cancel()

    def _go_on(
        self,
        course: Course[T],
        told: "Future[T]",
        report: "Report | None" = None,
        error: Exception | None = None,
    ) -> None:
        """Follow a course to its next pause; it begins with neither report nor error."""
        try:
            slot = course.throw(error) if error else course.send(report)  # type: ignore[arg-type]
        except StopIteration as end:
            told.set_result(end.value)
        except Exception as raised:
            told.set_exception(raised)
        else:
            self._waiting[slot] = course, told
            self._keep_stepping()

    def _keep_stepping(self) -> None:
        if self._waiting and not self._stepping:
            self._stepping = True
            self._thread.submit(self._step)

    def _step(self) -> None:
        self._stepping = False
        try:
            for done in self.host.step():
                waiting = self._waiting.pop(done.name)
                self._go_on(*waiting, report=done.report, error=done.error)
        except Exception as error:  # not one slot's, so everybody's
            for slot in list(self._waiting):
                self._go_on(*self._waiting.pop(slot), error=error)
        self._keep_stepping()
