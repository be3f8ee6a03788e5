"""One line in the log for each request."""

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

log = logging.getLogger(__name__)


class AccessLog:
    """An ASGI application that logs what another answers: status and milliseconds."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, and log its end."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started, status = time.perf_counter(), "gone"

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            host = (scope.get("client") or ["-"])[0]
            milliseconds = (time.perf_counter() - started) * 1000
            # As it came: decoded, it could hold line ends, and with them lines of its own.
            path = scope["raw_path"].decode("ascii", "backslashreplace")[:200]
            log.info("%s %s %s %s %.1f ms", host, scope["method"], path, status, milliseconds)
