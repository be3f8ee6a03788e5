"""The HTTP side of serving: routes, refusals, and the time limit of a call."""

import asyncio
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.requests import ClientDisconnect

from sweeps.serving.answers import Answers
from sweeps.serving.limits import Bodies, CallError, discard
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
            return refusal(
                504, f"the call was given up after {SECONDS:.0f} seconds; send fewer images"
            )
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
