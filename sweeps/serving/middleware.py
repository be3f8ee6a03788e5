"""What every request passes through: a line in the log, and the check of names.

A page on the web can have its own name resolve to 127.0.0.1 (DNS rebinding): a browser then lets
it read what listens here. Such a request carries the page's name as its ``Host``.
"""

import logging
import re
import socket
import time
from collections.abc import Collection
from contextlib import suppress
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sweeps.serving.app import refusal
from sweeps.serving.limits import discard
from workers.data.network import is_loopback

ANY = "*"
PROBES = ("/health", "/ping")
"""Paths that answer under any name: probes know a machine by another, and there is nothing to
read."""
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:@/?#\s]+))(?::\d*)?")

log = logging.getLogger(__name__)


class AccessLog:
    """An ASGI application that logs the answers of another: one line with status and time each."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and log its end."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started, status = time.perf_counter(), "gone"

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            host = (scope.get("client") or ["-"])[0]
            milliseconds = (time.perf_counter() - started) * 1000
            # As it came: decoded, it could hold line ends, and with them lines of its own.
            path = scope["raw_path"].decode("ascii", "backslashreplace")[:200]
            log.info("%s %s %s %s %.1f ms", host, scope["method"], path, status, milliseconds)


class HostCheck:
    """An ASGI application that passes only requests that name this server on to another.

    Its names are a loopback name or address, `host`, and `allowed`; and where `host` is reachable
    from other machines, any IP address and this machine's own name: a page's name is neither.
    """

    def __init__(self, app: ASGIApp, host: str, allowed: Collection[str] = ()) -> None:
        """Take the address that is listened on, and names that are allowed beside it."""
        self._app = app
        self._beyond = not is_loopback(host)
        self._allowed = {_bare(name) for name in allowed}
        self._names = {"localhost", _bare(host), *self._allowed}
        if self._beyond:
            self._names.add(socket.gethostname().lower())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and (refused := self._refused(scope)):
            with suppress(ClientDisconnect):
                await discard(Request(scope, receive))
            return await refusal(*refused)(scope, receive, send)
        return await self._app(scope, receive, send)

    def _refused(self, scope: Scope) -> tuple[int, str] | None:
        """Return the HTTP status and the reason for a request that is refused."""
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        name = _name(host)
        known = name in self._names or is_loopback(name) or (self._beyond and _is_address(name))
        if not known and ANY not in self._allowed and scope["path"] not in PROBES:
            return 421, (
                f"this server is not known as {name[:100]!r}; to allow a name, start it "
                "with --allow-host NAME"
            )
        if origin is not None and scope["method"] == "POST":
            # A page of this server, perhaps behind a proxy that changes ``Host``.
            place = origin.lower().partition("://")[2]
            if not place or (place != host.lower() and _name(place) not in self._allowed):
                return 403, f"pages of {origin[:100]!r} may not call this server"
        return None


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _name(host: str) -> str:
    """Return the name or address in a ``Host``, without port and brackets."""
    found = _HOST.fullmatch(host.lower())
    return (found[1] or found[2]).removesuffix(".") if found else ""


def _bare(name: str) -> str:
    """Return a name as people write it, `_name` of it; an IPv6 address may lack its brackets."""
    return name.lower() if name == ANY or _is_address(name) else _name(name)
