"""``sweeps serve``: the version with an alias, over HTTP, until the process is asked to end."""

import logging
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from rich.console import Console

from sweeps.serving.access_log import AccessLog
from sweeps.serving.answers import Answers
from sweeps.serving.app import make_app
from sweeps.serving.batcher import Batcher
from sweeps.serving.keeper import Keeper
from sweeps.serving.served import Registered

DRAIN = 30
"""Seconds that calls have to be answered after the process was asked to end."""
BACKLOG = 256
"""Connections that wait to be taken."""
SWITCH = 0.0005
"""Seconds of Python code after which another thread has its turn. `generate` on a small model is
mostly Python, and with the usual 5 ms every step of a call that comes meanwhile waits so long."""


def serve(model: Registered, host: str, port: int, console: Console) -> None:
    """Serve until SIGTERM or Ctrl-C; calls that were taken are answered.

    Port 0 takes a free one. Raises ValueError or OSError when the model cannot be loaded or the
    port is taken, before anything is served.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("sweeps").setLevel(logging.INFO)
    sys.setswitchinterval(SWITCH)
    with listen(host, port) as listening:
        batcher = Batcher()
        keeper = Keeper(model, batcher)
        address = f"http://{host}:{listening.getsockname()[1]}"
        version = keeper.facts()["version"]
        console.print(f"{model.name} version {version} ({model.alias}) on {address}")
        console.print(f"  try an image  {address}/\n  what answers  {address}/model")
        run(keeper, batcher, listening)


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


def run(keeper: Keeper, batcher: Batcher, listening: socket.socket) -> None:
    """Serve on a socket until the process is asked to end, then answer what was taken."""
    answers = Answers(keeper, batcher)
    keeper.follow()
    with _signals_end_quietly():
        http_server(keeper, batcher, answers).run(sockets=[listening])
    keeper.close()
    answers.close()
    batcher.close()


def http_server(keeper: Keeper, batcher: Batcher, answers: Answers) -> uvicorn.Server:
    """Return the server; when it ends, it answers what was taken, but not longer than `DRAIN`."""
    config = uvicorn.Config(
        AccessLog(make_app(keeper, batcher, answers)),
        log_config=None, access_log=False, timeout_graceful_shutdown=DRAIN, lifespan="off",
    )  # fmt: skip
    return uvicorn.Server(config)


@contextmanager
def _signals_end_quietly() -> Iterator[None]:
    """Let SIGTERM and Ctrl-C be no error: uvicorn raises them again when it has ended."""
    handled = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: None) for number in handled]
    try:
        yield
    finally:
        for number, handler in zip(handled, before, strict=True):
            signal.signal(number, handler)
