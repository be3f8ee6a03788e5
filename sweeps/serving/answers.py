"""Answering calls: from the body of a request to captions, many calls at once."""

import asyncio
import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import torch

from sweeps.serving.batcher import WAIT, Batcher, Call
from sweeps.serving.decoders import CHEAP, Decoder, Decoders, Opened, Turn
from sweeps.serving.keeper import Keeper
from sweeps.serving.limits import Budget
from workers.captioner import BATCH, Captioner, Prepared

IMAGES, FEW = 1024, 4
"""Most images of all calls; how many a call may have to find room beside others."""
PIXELS = 800_000_000
"""Most pixels of all calls."""
QUEUED = 512_000_000
"""Bytes of images that wait for the model, above which none is decoded."""
DECODERS = 8
"""Most processes that decode; a machine with fewer cores has one for each, but two at least."""


class Answers:
    """Captions for calls: images are decoded in other processes, one by one, and batched."""

    def __init__(self, keeper: Keeper, batcher: Batcher) -> None:
        self._keeper = keeper
        self._batcher = batcher
        self._images = Budget(IMAGES, FEW, "images")
        self._pixels = Budget(PIXELS, CHEAP, "pixels")
        threads = torch.get_num_threads()
        batcher.run(lambda: torch.set_num_threads(threads))
        count = min(max(os.cpu_count() or 1, 2), DECODERS)
        # Each of these would else have as many threads of its own for torch, which then wait for
        # each other, for seconds on a busy machine.
        self._threads = ThreadPoolExecutor(
            count, "encoder", initializer=torch.set_num_threads, initargs=(1,)
        )
        self._decoders = Decoders(keeper.folder, self._threads, count)

    async def captions(self, body: bytes | bytearray) -> list[str]:
        """Return a caption per image of a call, in order.

        Raises `RequestError`, or `CallError` where there is no room for it. When it is cancelled,
        what has not begun is not done, and a process that decodes for it is ended.
        """
        futures: list[Future[str]] = []
        with self._keeper.lease() as served, ExitStack() as held:
            try:
                await self._prepare(body, served.captioner, futures, held)
                return await asyncio.gather(*map(asyncio.wrap_future, futures))
            finally:
                for future in futures:
                    future.cancel()

    def close(self) -> None:
        """End the processes, and the threads when they have done what they are at."""
        self._decoders.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _prepare(
        self,
        body: bytes | bytearray,
        captioner: Captioner,
        futures: "list[Future[str]]",
        held: ExitStack,
    ) -> None:
        """Hand the images of a call to the batcher; append what becomes of them to `futures`."""
        async with self._decoders.turn(len(body), len(body)) as turn:
            opened = await turn.do(partial(_opened, turn.decoder, body, captioner), "the request")
            held.enter_context(self._images.take(len(opened.pixels)))
            held.enter_context(self._pixels.take(sum(opened.pixels)))
            if sum(opened.pixels) <= CHEAP:
                return await self._decode(turn, opened, captioner, futures)
        # One that takes longer waits for its turn without a process, and is read there again.
        async with self._decoders.turn(sum(opened.pixels), max(opened.pixels)) as turn:
            await turn.do(partial(turn.decoder.open, body), "the request")
            return await self._decode(turn, opened, captioner, futures)

    async def _decode(
        self, turn: Turn, opened: Opened, captioner: Captioner, futures: "list[Future[str]]"
    ) -> None:
        call, ready = Call(), list[Prepared]()

        def submit() -> None:
            futures.extend(self._batcher.submit(captioner, one, call) for one in ready)
            ready.clear()

        for number in range(len(opened.requests)):
            full = len(ready) == BATCH or sum(one.size for one in ready) > QUEUED / 8
            if full or self._batcher.held > QUEUED:
                submit()
            while self._batcher.held > QUEUED:
                await asyncio.sleep(WAIT)
            prepare = partial(_prepared, turn.decoder, number, opened, captioner)
            ready.append(await turn.do(prepare, f"inputs[{number}]"))
        submit()


def _opened(decoder: Decoder, body: bytes | bytearray, captioner: Captioner) -> Opened:
    opened = decoder.open(body)
    for number, request in enumerate(opened.requests):
        captioner.check_question(request.question, f"inputs[{number}].question")
    return opened


def _prepared(decoder: Decoder, number: int, opened: Opened, captioner: Captioner) -> Prepared:
    image = decoder.image(number)
    return captioner.prepare_image(image, opened.requests[number], f"inputs[{number}]")
