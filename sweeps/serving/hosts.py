"""Which names a request may call this server by.

A page on the web can have its own name resolve to 127.0.0.1 (DNS rebinding): a browser then lets
it read what listens here. Such a request carries the page's name as its ``Host``.
"""

import re
import socket
from collections.abc import Collection
from contextlib import suppress
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request

from sweeps.serving.access_log import App, Message, Receive, Send
from sweeps.serving.app import refusal
from sweeps.serving.bodies import discard
from workers.data.network import is_loopback

ANY = "*"
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:@/?#\s]+))(?::\d*)?")
PROBES = ("/health", "/ping")
"""Paths that answer under any name: probes know a machine by another, and there is nothing to
read."""


class HostCheck:
    """An ASGI application that lets through to another what names this server.

    That is a loopback name or address, `host`, and `allowed`; and where `host` is reachable from
    other machines, any IP address and this machine's own name: a page's name is neither.
    """

    def __init__(self, app: App, host: str, allowed: Collection[str] = ()) -> None:
        """Take the address that is listened on, and names that are allowed beside it."""
        self._app = app
        self._beyond = not is_loopback(host)
        self._allowed = {_bare(name) for name in allowed}
        self._names = {"localhost", _bare(host), *self._allowed}
        if self._beyond:
            self._names.add(socket.gethostname().lower())

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and (refused := self._refused(scope)):
            with suppress(ClientDisconnect):
                await discard(Request(scope, receive))
            return await refusal(*refused)(scope, receive, send)
        return await self._app(scope, receive, send)

    def _refused(self, scope: Message) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if ANY not in self._allowed and scope["path"] not in PROBES and not self._known(host):
            return 421, (
                f"this server is not known as {_name(host)[:100]!r}; to allow a name, start it "
                "with --allow-host NAME"
            )
        if origin is not None and scope["method"] == "POST" and not self._own(origin, host):
            return 403, f"pages of {origin[:100]!r} may not ask this server"
        return None

    def _known(self, host: str) -> bool:
        name = _name(host)
        return name in self._names or is_loopback(name) or (self._beyond and _is_address(name))

    def _own(self, origin: str, host: str) -> bool:
        """Tell a page of this server, perhaps behind a proxy that changes ``Host``."""
        place = origin.lower().partition("://")[2]
        return place != "" and (place == host.lower() or _name(place) in self._allowed)


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
    """Return a name as people give it, `_name` of it; an IPv6 address may lack its brackets."""
    return name.lower() if name == ANY or _is_address(name) else _name(name)
