"""``sweeps serve``: the version with an alias, over HTTP, until SIGTERM or Ctrl-C."""

import asyncio
import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Collection
from contextlib import suppress
from typing import Any, cast

import uvicorn
from rich.console import Console
from uvicorn.protocols.http.h11_impl import H11Protocol

from sweeps.serving.answers import Answers
from sweeps.serving.app import AccessLog, Front, HostCheck, make_app
from sweeps.serving.batcher import Batcher
from sweeps.serving.served import Keeper, Registered
from workers.data.network import is_loopback

DRAIN = 5.0
"""Seconds that calls have to be answered after SIGTERM or Ctrl-C; then the process ends."""
LAST = 1.0
"""Seconds that a `generate` or a connection that still runs then has to end by itself."""
BACKLOG = 256
"""Most connections that wait to be accepted."""
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
SWITCH = 0.0005
"""Seconds of Python code after which another thread has its turn. `generate` on a small model is
mostly Python, and with the usual 5 ms every step of a call that comes meanwhile waits so long."""


def serve(
    model: Registered, host: str, port: int, allowed: Collection[str], console: Console
) -> None:
    """Serve until SIGTERM or Ctrl-C, then end the process; calls that were taken are answered.

    Port 0 takes a free one; `allowed` are names that requests may call the server by, see
    `HostCheck`. Raises ValueError or OSError when the model cannot be loaded or the port is
    taken, before anything is served.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("sweeps").setLevel(logging.INFO)
    sys.setswitchinterval(SWITCH)
    with listen(host, port) as listening:
        keeper = Keeper(model, Batcher())
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listening.getsockname()[1]}"
        version = keeper.facts()["version"]
        console.print(f"{model.name} version {version} ({model.alias}) on {address}")
        console.print(f"  try an image  {address}/\n  what answers  {address}/model")
        if not is_loopback(listening.getsockname()[0]):
            who = f"anyone who reaches {addresses(listening)}"
            warning = f"  warning: there is no authentication, {who} can use it"
            console.print(warning, soft_wrap=True)
        answers = Answers(keeper)
        keeper.follow()
        # Ignored afterwards: uvicorn raises SIGTERM and Ctrl-C again when it has ended.
        ending = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, lambda *_: None) for number in ending}
        try:
            CaptionServer(answers, host, allowed).run(sockets=[listening])
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        keeper.close()
        answers.close()
        keeper.batcher.close(LAST)  # a `generate` that still runs is waited for no longer
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)  # threads that still compute would hold the process


def addresses(listening: socket.socket) -> str:
    """Return in words the addresses of a socket that listens beyond loopback."""
    address = listening.getsockname()[0]
    if address not in ("0.0.0.0", "::"):
        return str(address)
    family = socket.AF_INET if address == "0.0.0.0" else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe, suppress(OSError):
        # Nothing is sent: this finds the address with which the machine would.
        probe.connect(("192.0.2.1" if family == socket.AF_INET else "2001:db8::1", 9))
        return f"any address of this machine, such as {probe.getsockname()[0]},"
    return "any address of this machine"


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; raises OSError, naming the address, when it is taken."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    # With the protocol named: asyncio turns Nagle's algorithm, 40 ms a call, off for TCP only.
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
    except OSError as error:
        listening.close()
        raise OSError(f"cannot serve on {host} port {port}: {error.strerror}") from None
    listening.listen(BACKLOG)
    return listening


class CaptionServer(uvicorn.Server):
    """uvicorn's server; when it ends, it answers what was taken, but not longer than `DRAIN`."""

    def __init__(self, answers: Answers, host: str, allowed: Collection[str] = ()) -> None:
        """Take the address that is listened on, and the names that `HostCheck` allows."""
        self._front = Front(answers)
        config = uvicorn.Config(
            AccessLog(HostCheck(make_app(self._front), host, allowed)),
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=math.ceil(HEADERS),
            timeout_graceful_shutdown=int(DRAIN + LAST),
        )
        super().__init__(config)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: requests have `DRAIN` seconds, connections `LAST` more."""
        self._front.end(DRAIN)
        await super().shutdown(sockets)


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
