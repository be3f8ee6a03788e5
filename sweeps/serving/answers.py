"""Answering calls: from the JSON of a request to captions, many calls at once."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress

from sweeps.serving.batcher import Batcher
from sweeps.serving.keeper import Keeper
from sweeps.serving.served import Served
from workers.caption_requests import CaptionRequest, RequestError, parse
from workers.captioner import Prepared


async def captions(body: bytes, keeper: Keeper, batcher: Batcher) -> list[str]:
    """Return a caption per image of a call, in order; raises `RequestError`.

    Images are decoded in threads, several at a time, and written by `batcher`.
    """
    with keeper.lease() as served:
        prepared = await asyncio.to_thread(_prepare, body, served)
        futures = [batcher.submit(served.captioner, one) for one in prepared]
        return await asyncio.gather(*map(asyncio.wrap_future, futures))


def _prepare(body: bytes, served: Served) -> list[Prepared]:
    requests = _requests(body)
    prepare = served.captioner.prepare
    return [prepare(request, f"inputs[{number}]") for number, request in enumerate(requests)]


def _requests(body: bytes) -> Sequence[CaptionRequest]:
    """Return the requests of MLflow's format ``{"inputs": [...]}``."""
    call: object = None
    with suppress(ValueError, RecursionError):  # bad UTF-8 is a ValueError, too
        call = json.loads(body)
    if not isinstance(call, dict) or set(call) != {"inputs"}:
        raise RequestError('the request must be JSON such as {"inputs": [{"image": "<base64>"}]}')
    return parse(call["inputs"])
