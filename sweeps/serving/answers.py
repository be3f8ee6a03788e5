"""From the bodies of requests to captions, many calls at once."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import torch

from sweeps.serving.batcher import WAIT, Call
from sweeps.serving.decoders import CHEAP, FEW, Decoder, Decoders, Opened
from sweeps.serving.limits import Quota
from sweeps.serving.served import Keeper
from workers.inference.captioner import BATCH, Captioner, Prepared

IMAGES = 1024
"""Most images of all calls."""
PIXELS = 800_000_000
"""Most pixels of all calls."""
QUEUED = 512_000_000
"""Bytes of images that wait for the model, above which none is decoded."""
LARGE = QUEUED // 8
"""Bytes of images that a call hands to the model at a time; room that is left to cheap calls."""
DECODERS = 8
"""Most processes that decode; a machine with fewer cores has one for each, but two at least."""


class Answers:
    """Captions for calls: images are decoded in other processes, one by one, and batched."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper
        self._batcher = keeper.batcher
        self._images = Quota(IMAGES, FEW, "images")
        self._pixels = Quota(PIXELS, CHEAP, "pixels")
        threads = torch.get_num_threads()
        self._batcher.run(lambda: torch.set_num_threads(threads))
        count = min(max(os.cpu_count() or 1, 2), DECODERS)
        # Each of these would else have as many threads of its own for torch, which then wait for
        # each other, for seconds on a busy machine.
        self._threads = ThreadPoolExecutor(
            count, "encoder", initializer=torch.set_num_threads, initargs=(1,)
        )
        self._decoders = Decoders(keeper.model.images, self._threads, count)

    async def captions(self, body: bytes | bytearray) -> list[str]:
        """Return a caption per image of a call, in order.

        Raises `RequestError`, or `CallError` where there is no room for it. When it is cancelled,
        what has not begun is not done, and a process that decodes for it is ended.
        """
        call = Call()
        with self.keeper.lease() as served, ExitStack() as held:
            captioner = served.captioner
            held.callback(call.cancel)
            await self._room(QUEUED)
            async with self._decoders.turn(len(body), len(body)) as turn:
                read = partial(_read, turn.decoder, body, captioner)
                opened, ready = await turn.do(read, "the request")
            held.enter_context(self._images.take(len(opened.pixels)))
            held.enter_context(self._pixels.take(sum(opened.pixels)))
            if ready:
                self._batcher.submit(captioner, ready, call)
            else:
                await self._decode(body, opened, captioner, call)
            return await asyncio.gather(*map(asyncio.wrap_future, call.captions))

    def close(self) -> None:
        """End the processes, and the threads when they have finished their work."""
        self._decoders.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _decode(
        self, body: bytes | bytearray, opened: Opened, captioner: Captioner, call: Call
    ) -> None:
        """Decode the images of a large call one by one, in a turn that it had to wait for.

        Many small images take as long as a large one, for some processors much longer, but not
        its memory.
        """
        cost, largest = sum(opened.pixels), max(opened.pixels)
        if cost <= CHEAP:
            cost, largest = CHEAP + 1, 0
        async with self._decoders.turn(cost, largest) as turn:
            await turn.do(partial(turn.decoder.open, body), "the request")
            ready: list[Prepared] = []
            for number in range(len(opened.pixels)):
                if not ready:
                    await self._room(QUEUED - LARGE)
                prepare = partial(_prepared, turn.decoder, opened, number, captioner)
                ready.append(await turn.do(prepare, f"inputs[{number}]"))
                size = sum(one.size for one in ready)
                if len(ready) == BATCH or size > LARGE or number + 1 == len(opened.pixels):
                    self._batcher.submit(captioner, ready, call)
                    ready = []

    async def _room(self, most: int) -> None:
        """Return when images of at most so many bytes wait for the model."""
        while self._batcher.held > most:
            await asyncio.sleep(WAIT)


def _read(
    decoder: Decoder, body: bytes | bytearray, captioner: Captioner
) -> tuple[Opened, list[Prepared]]:
    """Read a call; return the prepared images of one that has few and small ones, else none."""
    opened = decoder.open(body)
    for number, request in enumerate(opened.requests):
        captioner.check_question(request.question, f"inputs[{number}].question")
    both = enumerate(zip(opened.images, opened.requests, strict=False))
    return opened, [captioner.prepare_image(*each, f"inputs[{number}]") for number, each in both]


def _prepared(decoder: Decoder, opened: Opened, number: int, captioner: Captioner) -> Prepared:
    image = decoder.image(number)
    return captioner.prepare_image(image, opened.requests[number], f"inputs[{number}]")
