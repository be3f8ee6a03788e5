"""The HTTP side: routes, refusals, and how many calls are taken at once."""

from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from sweeps.serving import bodies
from sweeps.serving.answers import Answers
from sweeps.serving.batcher import Batcher
from sweeps.serving.keeper import Keeper
from workers.caption_requests import RequestError

PAGE = Path(__file__).with_name("page.html")
MAX_CALLS = 64
"""Most calls that are read, wait or are computed at once; others are told to come again."""
BUSY = {"Retry-After": "1"}
"""Header for a client that is told to come again: seconds."""
JSON = "application/json"
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src blob: data:; connect-src 'self'; form-action 'none'; frame-ancestors 'none'"
)
"""Content security policy of the page: it loads nothing from elsewhere."""


class Front:
    """The answers to all routes."""

    def __init__(self, keeper: Keeper, batcher: Batcher, answers: Answers) -> None:
        self._keeper = keeper
        self._batcher = batcher
        self._answers = answers
        self._calls = 0

    async def invocations(self, request: Request) -> Response:
        """``POST /invocations``: captions, in MLflow's format."""
        if self._calls >= MAX_CALLS:
            await bodies.discard(request)
            return refusal(
                503, "too many calls at once; come again in a second", {"Retry-After": "1"}
            )
        self._calls += 1
        try:
            return await self._captions(request)
        finally:
            self._calls -= 1

    async def _captions(self, request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != JSON:
            await bodies.discard(request)
            return refusal(415, f"the content type must be {JSON}, got {kind[:60] or 'none'}")
        try:
            body = await bodies.read(request)
            written = await self._answers.captions(body)
        except bodies.TooLargeError as error:
            return refusal(413, str(error), {"Connection": "close"})
        except RequestError as error:
            return refusal(400, str(error))
        return JSONResponse({"predictions": written})

    async def model(self, _: Request) -> Response:
        """``GET /model``: what answers, since when, and how much it did."""
        counts = {"images": self._batcher.images, "batches": self._batcher.batches}
        return JSONResponse({**self._keeper.facts(), **counts})

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


def refusal(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """Return an answer in the form of MLflow's errors."""
    codes = {503: "TEMPORARILY_UNAVAILABLE", 500: "INTERNAL_ERROR"}
    content = {"error_code": codes.get(status, "INVALID_PARAMETER_VALUE"), "message": message}
    return JSONResponse(content, status_code=status, headers=headers)


def make_app(keeper: Keeper, batcher: Batcher, answers: Answers) -> FastAPI:
    """Return the application."""
    front = Front(keeper, batcher, answers)
    app = FastAPI(title="sweeps serve", docs_url=None, redoc_url=None, openapi_url=None)
    app.router.add_route("/invocations", front.invocations, methods=["POST"])
    gets = {
        "/": front.page, "/model": front.model, "/health": front.health, "/ping": front.health,
        "/version": front.version,
    }  # fmt: skip
    for path, answer in gets.items():
        app.router.add_route(path, answer, methods=["GET"])
    app.add_exception_handler(Exception, _failed)
    return app


async def _failed(_: Request, error: Exception) -> Response:
    return refusal(500, f"the model failed on this request ({type(error).__name__}); see the log")
