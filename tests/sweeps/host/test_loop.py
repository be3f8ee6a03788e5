"""The thread around a host: calls between two steps, courses that wait, and their ends."""

import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from sweeps.host.loop import HostLoop
from workers.report import Done, Report


def rung(number):
    return Report(rung=number, metrics={}, finished=False, seconds=0.0)


class Host:
    """Needs so many steps for a rung of a slot; a step waits until it is allowed."""

    def __init__(self):
        self.left = {}
        self.threads = set()
        self.allowed = threading.Semaphore(0)
        self.broken = None

    @property
    def busy(self):
        return bool(self.left)

    def begin(self, name, steps):
        self.left[name] = steps

    def step(self):
        self.threads.add(threading.get_ident())
        assert self.allowed.acquire(timeout=10)
        if self.broken:
            raise self.broken
        self.left = {name: left - 1 for name, left in self.left.items()}
        done = [name for name, left in self.left.items() if not left]
        return [self._done(name) for name in done]

    def _done(self, name):
        del self.left[name]
        if name.startswith("bad"):
            return Done(name=name, error=ArithmeticError(f"{name} left the numbers"))
        return Done(name=name, report=rung(1))


@pytest.fixture
def loop():
    loop = HostLoop(Host)
    yield loop
    loop.host.allowed.release(100)
    loop.close()


@pytest.fixture
def calls():
    with ThreadPoolExecutor(max_workers=8) as calls:
        yield calls


def coroutine(loop, name, steps=1):
    loop.host.begin(name, steps)
    report = yield name
    return name, report.rung


def guarded(loop, name, steps=1):
    try:
        return (yield from coroutine(loop, name, steps))
    except Exception as error:
        loop.host.left.pop(name, None)
        return name, str(error)


def test_calls_wait_for_their_own_slots_and_one_thread_does_all(loop, calls):
    waiting = [
        calls.submit(loop.run_until_complete, coroutine(loop, name, 3)) for name in ("one", "two")
    ]
    loop.host.allowed.release(6)
    assert [call.result(timeout=10) for call in waiting] == [("one", 1), ("two", 1)]
    assert loop.host.threads == {loop.do(threading.get_ident)}


def test_a_call_is_answered_between_two_steps(loop, calls):
    rung = calls.submit(loop.run_until_complete, coroutine(loop, "long", 100))
    while not loop.host.threads:
        time.sleep(0.01)
    asked = calls.submit(loop.do, lambda: dict(loop.host.left))
    loop.host.allowed.release()
    assert asked.result(timeout=10) == {"long": 99}
    assert not rung.done()
    loop.host.allowed.release(99)
    assert rung.result(timeout=10) == ("long", 1)


def test_a_host_goes_on_with_what_nobody_waits_for(loop):
    loop.host.allowed.release(5)
    loop.host.begin("ahead", 5)
    assert loop.run_until_complete(coroutine(loop, "one", 1)) == ("one", 1)
    until = time.monotonic() + 10
    while loop.host.left and time.monotonic() < until:
        time.sleep(0.01)
    assert not loop.host.left


def test_an_error_of_a_slot_reaches_its_own_course_only(loop, calls):
    bad, good = (
        calls.submit(loop.run_until_complete, coroutine(loop, name, 2)) for name in ("bad", "good")
    )
    loop.host.allowed.release(4)
    with pytest.raises(ArithmeticError, match="bad left the numbers"):
        bad.result(timeout=10)
    assert good.result(timeout=10) == ("good", 1)


def test_a_course_may_pause_more_than_once_or_never(loop, calls):
    def twice():
        first = yield from coroutine(loop, "first")
        second = yield from coroutine(loop, "second")
        return first, second

    def never():
        return "at once"
        yield

    loop.host.allowed.release(2)
    assert loop.run_until_complete(twice()) == (("first", 1), ("second", 1))
    assert loop.run_until_complete(never()) == "at once"


def test_who_waits_for_a_slot_that_is_let_go_is_told_so(loop, calls):
    gone, stays = (calls.submit(loop.run_until_complete, guarded(loop, name, 500)) for name in "ab")
    while len(loop.host.left) < 2:
        loop.host.allowed.release()
        time.sleep(0.01)
    letting_go = calls.submit(loop.do, loop.cancel, "a")
    loop.host.allowed.release(1000)
    letting_go.result(timeout=10)
    assert gone.result(timeout=10) == ("a", "a was closed in the middle of a rung")
    assert stays.result(timeout=10) == ("b", 1)
    loop.do(loop.cancel, "nobody")


def test_a_step_that_breaks_leaves_nobody_waiting(loop, calls):
    loop.host.broken = RuntimeError("the device is lost")
    waiting = [
        calls.submit(loop.run_until_complete, guarded(loop, name, 3)) for name in ("one", "two")
    ]
    loop.host.allowed.release(4)
    told = sorted(call.result(timeout=10) for call in waiting)
    assert told == [("one", "the device is lost"), ("two", "the device is lost")]


def test_nothing_can_be_asked_of_a_desk_that_is_closed(loop, calls):
    rung = calls.submit(loop.run_until_complete, guarded(loop, "long", 50))
    while not loop.host.threads:
        time.sleep(0.01)
    late = calls.submit(loop.do, lambda: None)
    closing = calls.submit(loop.close)
    with pytest.raises(CancelledError):
        late.result(timeout=10)
    loop.host.allowed.release(1)
    closing.result(timeout=10)
    with pytest.raises(CancelledError):
        rung.result(timeout=10)
    with pytest.raises(RuntimeError, match="shutdown"):
        loop.do(lambda: None)
