"""``sweeps serve``: the version with an alias, over HTTP, until the process is asked to end."""

import logging
import os
import signal
import socket
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

import uvicorn
from rich.console import Console

from sweeps.serving.answers import Answers
from sweeps.serving.app import Front, make_app
from sweeps.serving.batcher import Batcher
from sweeps.serving.connections import HEADERS, Connection
from sweeps.serving.keeper import Keeper
from sweeps.serving.middleware import AccessLog, HostCheck
from sweeps.serving.served import Registered
from workers.data.network import is_loopback

DRAIN = 5.0
"""Seconds that calls have to be answered after the process was asked to end; then it ends."""
LAST = 1.0
"""Seconds that a `generate` or a connection that still runs then has to end by itself."""
BACKLOG = 256
"""Most connections that wait to be accepted."""
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
            who = f"anybody who reaches {addresses(listening)}"
            warning = f"  warning: there is no authentication, {who} can ask it"
            console.print(warning, soft_wrap=True)
        answers = Answers(keeper)
        keeper.follow()
        with _signals_end_quietly():
            CaptionServer(answers, host, allowed).run(sockets=[listening])
        keeper.close()
        answers.close()
        keeper.batcher.close(LAST)  # a `generate` that still runs is waited for no longer
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)  # threads that compute on for nobody would hold the process


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
            timeout_keep_alive=int(HEADERS),
            timeout_graceful_shutdown=int(DRAIN + LAST),
        )
        super().__init__(config)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: requests have `DRAIN` seconds, connections `LAST` more."""
        self._front.end(DRAIN)
        await super().shutdown(sockets)


@contextmanager
def _signals_end_quietly() -> Iterator[None]:
    """Ignore SIGTERM and Ctrl-C afterwards: uvicorn raises them again when it has ended."""
    handled = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: None) for number in handled]
    try:
        yield
    finally:
        for number, handler in zip(handled, before, strict=True):
            signal.signal(number, handler)
