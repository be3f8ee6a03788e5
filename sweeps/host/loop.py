"""The event loop of a host: one thread that touches the host, and does the work of all calls.

Many calls wait at a time, each for the rung of its trial; in between come others that need an
answer soon. All of them run in one thread: torch keeps its thread teams and much of its state per
thread, and what is not shared needs no lock. While its slots have work, the thread trains a step
at a time, and does the calls that have arrived between two steps.
"""

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from workers.host.host import Host
    from workers.report import Report

P = ParamSpec("P")
T = TypeVar("T")

HostCoroutine = Generator[str, "Report", T]
"""Work with pauses: it gives a host's slot something to do, yields the slot's name, and is sent the
report, or gets the slot's error thrown in, when the host is done with it."""


class HostLoop:
    """A host in a thread of its own.

    Args:
        make_host: makes the host, in that thread.
    """

    def __init__(self, make_host: "Callable[[], Host]") -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="host")
        self._waiting: dict[str, tuple[HostCoroutine[Any], Future[Any]]] = {}
        """By the slot that a coroutine waits for. Only used in the thread."""
        self._stepping = False
        """Whether a step is scheduled."""
        self.host = self.do(make_host)

    def do(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in the thread, between two steps; return or raise what it does."""
        return self._thread.submit(work, *args, **kwargs).result()

    def run_until_complete(self, coroutine: HostCoroutine[T]) -> T:
        """Run a coroutine in the thread to its end; return or raise what it does."""
        future: Future[T] = Future()
        self.do(self._advance, coroutine, future)
        return future.result()

    def cancel(self, slot: str, error: Exception | None = None) -> None:
        """Fail the coroutine that waits for a slot, if there is one. Only for use in the thread."""
        if slot in self._waiting:
            error = error or RuntimeError(f"{slot} was closed in the middle of a rung")
            self._advance(*self._waiting.pop(slot), error=error)

    def close(self) -> None:
        """End the thread after its current step; calls that wait are cancelled."""
        self._thread.shutdown(cancel_futures=True)
        for _, future in self._waiting.values():
            future.cancel()

    def _advance(
        self,
        coroutine: HostCoroutine[T],
        future: "Future[T]",
        report: "Report | None" = None,
        error: Exception | None = None,
    ) -> None:
        """Run a coroutine to its next pause; it begins with neither report nor error."""
        try:
            slot = coroutine.throw(error) if error else coroutine.send(report)  # type: ignore[arg-type]
        except StopIteration as end:
            future.set_result(end.value)
        except Exception as raised:
            future.set_exception(raised)
        else:
            self._waiting[slot] = coroutine, future
            self._keep_stepping()

    def _keep_stepping(self) -> None:
        if self.host.busy and not self._stepping:
            self._stepping = True
            self._thread.submit(self._step)

    def _step(self) -> None:
        self._stepping = False
        try:
            for done in self.host.step():
                waiting = self._waiting.pop(done.name)
                self._advance(*waiting, report=done.report, error=done.error)
        except Exception as error:  # of no single slot, so of all
            for slot in list(self._waiting):
                self._advance(*self._waiting.pop(slot), error=error)
        else:
            self._keep_stepping()
