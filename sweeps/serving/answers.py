"""Answering calls: from the JSON of a request to captions, many calls at once."""

import asyncio
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import torch

from sweeps.serving.batcher import Batcher
from sweeps.serving.keeper import Keeper
from sweeps.serving.served import Served
from workers.caption_requests import CaptionRequest, RequestError, parse
from workers.captioner import Prepared


class Answers:
    """Captions for calls: images are decoded in threads, several at a time, and batched."""

    def __init__(self, keeper: Keeper, batcher: Batcher) -> None:
        self._keeper = keeper
        self._batcher = batcher
        threads = torch.get_num_threads()
        batcher.run(lambda: torch.set_num_threads(threads))
        # Each of these would else have as many threads of its own for torch, which then wait for
        # each other, for seconds on a busy machine.
        self._decoders = ThreadPoolExecutor(
            os.cpu_count() or 1, "decoder", initializer=torch.set_num_threads, initargs=(1,)
        )

    async def captions(self, body: bytes) -> list[str]:
        """Return a caption per image of a call, in order; raises `RequestError`."""
        loop = asyncio.get_running_loop()
        with self._keeper.lease() as served:
            prepared = await loop.run_in_executor(self._decoders, _prepare, body, served)
            futures = [self._batcher.submit(served.captioner, one) for one in prepared]
            return await asyncio.gather(*map(asyncio.wrap_future, futures))

    def close(self) -> None:
        """End the threads."""
        self._decoders.shutdown()


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
