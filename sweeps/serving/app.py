"""The HTTP side of serving: the log, the check of names, routes, refusals, and time limits."""

import asyncio
import logging
import re
import socket
import time
from collections.abc import Collection
from contextlib import suppress
from importlib.metadata import version
from ipaddress import ip_address
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sweeps.serving.answers import Answers
from sweeps.serving.limits import Bodies, CallError, discard
from workers.data.network import is_loopback
from workers.inference.caption_requests import RequestError

PAGE = Path(__file__).with_name("page.html")
SECONDS = 120.0
"""Seconds in which a call is answered, from when its body is there."""
CODES = {
    403: "PERMISSION_DENIED",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""HTTP status -> MLflow's code of the error, where it is not that of a bad request."""
_CLOSE = {"Connection": "close"}
HEADERS = {403: _CLOSE, 408: _CLOSE, 413: _CLOSE, 421: _CLOSE, 503: {"Retry-After": "1"}}
"""HTTP status -> headers: the rest of a body is not waited for; a client may retry."""
LEFT = 499
"""Status in the log for a client that left before its answer, as nginx has it."""
JSON = "application/json"
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src blob: data:; connect-src 'self'; form-action 'none'; frame-ancestors 'none'"
)
"""Content security policy of the page: it loads nothing from elsewhere."""
ANY = "*"
PROBES = ("/health", "/ping")
"""Paths that answer under any name: probes know a machine by another, and there is nothing to
read."""
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:@/?#\s]+))(?::\d*)?")

log = logging.getLogger(__name__)


class Front:
    """The answers to all routes."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._bodies = Bodies()
        self._limits: set[asyncio.Timeout] = set()
        self._ending = False

    async def invocations(self, request: Request) -> Response:
        """``POST /invocations``: captions, in MLflow's format."""
        limit = asyncio.timeout(None)
        self._limits.add(limit)
        try:
            async with limit:
                kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
                if kind != JSON:
                    await discard(request)
                    got = kind[:60] or "none"
                    return refusal(415, f"the content type must be {JSON}, got {got}")
                async with self._bodies.read(request) as body:
                    if not self._ending:
                        limit.reschedule(asyncio.get_running_loop().time() + SECONDS)
                    leaving = asyncio.create_task(_end_when_left(request, limit))
                    try:
                        return JSONResponse({"predictions": await self._answers.captions(body)})
                    finally:
                        leaving.cancel()
        except CallError as error:
            return refusal(error.status, str(error))
        except RequestError as error:
            return refusal(400, str(error))
        except ClientDisconnect:
            return Response(status_code=LEFT)
        except (TimeoutError, asyncio.CancelledError):  # the latter at the very end
            if await request.is_disconnected():
                return Response(status_code=LEFT)
            if self._ending:
                return refusal(503, "the server was asked to end; send the call to another")
            given_up = f"the call was given up after {SECONDS:.0f} seconds; send fewer images"
            return refusal(504, given_up)
        finally:
            self._limits.remove(limit)

    def end(self, seconds: float) -> None:
        """Let the requests that were taken be answered or given up in so many seconds."""
        self._ending = True
        until = asyncio.get_running_loop().time() + seconds
        for limit in self._limits:
            with suppress(RuntimeError):  # it has just passed
                limit.reschedule(min(until, limit.when() or until))

    async def model(self, _: Request) -> Response:
        """``GET /model``: the version that answers, since when, and how much it did."""
        keeper = self._answers.keeper
        counts = {"images": keeper.batcher.images, "batches": keeper.batcher.batches}
        return JSONResponse({**keeper.facts(), **counts})

    async def page(self, _: Request) -> Response:
        """``GET /``: a page to try an image."""
        headers = {"Content-Security-Policy": POLICY}
        return HTMLResponse(PAGE.read_text(encoding="utf-8"), headers=headers)

    async def health(self, _: Request) -> Response:
        """``GET /health`` and ``/ping``: a version is loaded, else nothing would listen."""
        return Response("\n", media_type=JSON)

    async def version(self, _: Request) -> Response:
        """``GET /version``: that of MLflow, whose protocol this is."""
        return Response(version("mlflow"), media_type=JSON)


async def _end_when_left(request: Request, limit: asyncio.Timeout) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    with suppress(RuntimeError):  # it has just passed
        limit.reschedule(0)


def refusal(status: int, message: str) -> Response:
    """Return an answer in the form of MLflow's errors."""
    content = {"error_code": CODES.get(status, "INVALID_PARAMETER_VALUE"), "message": message}
    return JSONResponse(content, status_code=status, headers=HEADERS.get(status))


def make_app(front: Front) -> FastAPI:
    """Return the application."""
    app = FastAPI(title="sweeps serve", docs_url=None, redoc_url=None, openapi_url=None)
    app.router.add_route("/invocations", front.invocations, methods=["POST"])
    for path, answer in {
        "/": front.page,
        "/model": front.model,
        "/health": front.health,
        "/ping": front.health,
        "/version": front.version,
    }.items():
        app.router.add_route(path, answer, methods=["GET"])

    async def failed(_: Request, error: Exception) -> Response:
        name = type(error).__name__
        return refusal(500, f"the model failed on this request ({name}); see the log")

    app.add_exception_handler(Exception, failed)
    return app


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

    A page on the web can have its own name resolve to 127.0.0.1 (DNS rebinding): a browser then
    lets it read what listens here. Such a request carries the page's name as its ``Host``.
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
            advice = "to allow a name, start it with --allow-host NAME"
            return 421, f"this server is not known as {name[:100]!r}; {advice}"
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
