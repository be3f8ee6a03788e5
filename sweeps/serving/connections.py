"""Connections with limits: none may be held for nothing."""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 256
"""Most connections, and with them calls, at once. One more ends that which has waited longest for
a whole request."""
HEADERS = 20.0
"""Seconds from the begin of a connection, or from its last answer, to the next headers' end."""
STALLED = 20.0
"""Seconds for which a client may take nothing of an answer."""

AHEAD = 65_536
"""Bytes that a client may send while its last request is answered."""
LINES, LINE = 1000, 128
"""Line ends of a request: so many, and one more for each 128 bytes. A body in chunks of a byte
would else keep the parser, which all share, at work."""


class Connection(H11Protocol):
    """uvicorn's connection, with limits of its own: uvicorn waits for headers for ever."""

    _bytes = 0
    _lines = 0
    _ahead = 0
    _clock: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _since = 0.0

    def connection_made(self, transport: Any) -> None:
        """Start waiting for headers; make room where there are too many connections."""
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > MAX_CONNECTIONS:
            every = cast("set[Connection]", self.connections)
            waiting = [each for each in every if each.waits_for_client]
            longest = min(waiting, key=lambda each: each._since)
            self.connections.discard(longest)  # another may come before it is closed
            longest.transport.abort()

    @property
    def waits_for_client(self) -> bool:
        """Whether no whole request is there that is not answered."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    def data_received(self, data: bytes) -> None:
        """Read on, unless it is mostly line ends or comes too early."""
        self._bytes += len(data)
        self._lines += data.count(b"\r\n")
        self._ahead += 0 if self.waits_for_client else len(data)
        if self._lines > LINES + self._bytes // LINE or self._ahead > AHEAD:
            return self.transport.abort()
        return super().data_received(data)

    def handle_events(self) -> None:
        """Note whether headers have come; read on, or it would not be seen that a client left."""
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self._cancel(self._clock)
        if not self.waits_for_client:
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        """Wait for the headers of the next request."""
        self._wait()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Give the client some time to take what was written."""
        super().pause_writing()
        self._stalled = self.loop.call_later(STALLED, self.transport.abort)

    def resume_writing(self) -> None:
        """The client took it."""
        super().resume_writing()
        self._cancel(self._stalled)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._cancel(self._clock)
        self._cancel(self._stalled)
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._cancel(self._clock)
        self._bytes = self._lines = self._ahead = 0
        self._since = self.loop.time()
        self._clock = self.loop.call_later(HEADERS, self.transport.abort)

    @staticmethod
    def _cancel(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()  # which may be repeated
