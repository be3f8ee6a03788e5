"""Ctrl-C and SIGTERM in a driver."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPS = (KeyboardInterrupt, SystemExit)
"""Raised by Ctrl-C and SIGTERM while hosts start, and by a second one; Tune handles the first."""


@contextmanager
def signals_stop_tune() -> Iterator[None]:
    """Let SIGTERM stop Tune as cleanly as Ctrl-C does; Tune has no handler for it.

    Afterwards Ctrl-C is what it was before: Tune leaves its own handler, which nothing reads then.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
        ctrl_c = signal.getsignal(signal.SIGINT)
    except ValueError:  # not the main thread: the program that embeds the driver handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, ctrl_c)


def interrupt() -> None:
    """Stop the sweep as Ctrl-C does, where there is a main thread to stop."""
    if threading.current_thread() is threading.main_thread():
        signal.raise_signal(signal.SIGINT)
