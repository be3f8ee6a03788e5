"""The processes that read calls and decode images, and the order in which calls get them."""

import asyncio
import json
import os
import sys
from bisect import insort
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import IO, TYPE_CHECKING, Any, TypeVar

from workers.inference.caption_requests import MAX_PIXELS, CaptionRequest, RequestError

if TYPE_CHECKING:
    from PIL.Image import Image

CHEAP, FEW = 4_000_000, 4
"""Pixels of a call, or bytes of its body, for which one process is kept free; most images of a
call that is decoded as it is read."""
AT_WORK = MAX_PIXELS
"""Most pixels, or bytes of bodies, that are decoded at once beside those of cheap calls."""
PATIENCE = 15.0
"""Seconds for one image; the process that takes longer is ended."""
GRACE = 0.2
"""Seconds for an image of a call that has left: a new process takes as long to start."""
INHERITED = ("LD_LIBRARY_PATH", "PYTHONHOME")
"""Variables without which some installations of Python do not start."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A call as a decoder has read it."""

    requests: list[CaptionRequest]
    """Without images."""
    pixels: list[int]
    """Of each image."""
    images: "list[Image]"
    """The images themselves, in a call of at most `FEW` images and `CHEAP` pixels; else none."""


class Decoder:
    """One process; its functions wait for it, so they are for threads."""

    def __init__(self, folder: Path | None) -> None:
        """Start it; `folder` is where images may be named by path."""
        self.ended = False
        # It gets neither secrets nor what else is in the environment.
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, sys.path))
        environment["MALLOC_ARENA_MAX"] = "2"  # each thread's would count against its limit
        own = [sys.executable, "-P", "-m", "sweeps.serving.decoder"]
        own += [str(folder)] if folder else []
        self._process = Popen(
            own, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment, start_new_session=True
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.pid = self._process.pid
        self._input: IO[bytes] = self._process.stdin
        self._output: IO[bytes] = self._process.stdout

    def open(self, body: bytes | bytearray) -> Opened:
        """Send a call to it; raises `RequestError` for one that cannot be answered."""
        self._order({"open": len(body), "cheap": CHEAP, "few": FEW}, body)
        answer = self._answer()
        requests = [CaptionRequest.model_validate(one) for one in answer["requests"]]
        images = [self._image() for _ in range(answer["images"])]
        return Opened(requests=requests, pixels=answer["pixels"], images=images)

    def image(self, number: int) -> "Image":
        """Return an image of the call that was opened last; raises `RequestError`."""
        self._order({"decode": number})
        return self._image()

    def end(self) -> None:
        """Kill it: a thread that waits for its answer gets an EOFError or a BrokenPipeError."""
        self.ended = True
        self._process.kill()

    def reap(self) -> None:
        """Wait until an ended process is gone, with its memory."""
        self._process.wait()
        for pipe in (self._input, self._output):
            with suppress(OSError):
                pipe.close()

    def _order(self, order: Mapping[str, Any], body: bytes | bytearray = b"") -> None:
        self._input.write(json.dumps(order).encode() + b"\n")
        self._input.write(body)
        self._input.flush()

    def _answer(self) -> dict[str, Any]:
        line = self._output.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        answer: dict[str, Any] = json.loads(line)
        if "refused" in answer:
            raise RequestError(answer["refused"])
        return answer

    def _image(self) -> "Image":
        from PIL import Image

        width, height = self._answer()["size"]
        pixels = bytearray(3 * width * height)
        if self._output.readinto(pixels) < len(pixels):  # type: ignore[attr-defined]
            raise EOFError
        return Image.frombuffer("RGB", (width, height), pixels, "raw", "RGB", 0, 1)


class DecoderLease:
    """A call's hold on a decoder, which ends when the call ends."""

    def __init__(self, decoder: Decoder, threads: ThreadPoolExecutor) -> None:
        self.decoder = decoder
        self._threads = threads

    async def do(self, function: Callable[[], T], what: str) -> T:
        """Return what `function` returns in a thread; `what` is what errors call its work.

        Raises `RequestError` when it takes over `PATIENCE` seconds, or the process fails. The
        process is ended then, when the caller is cancelled meanwhile, and on any other error.
        """
        try:
            job = asyncio.get_running_loop().run_in_executor(self._threads, self._done, function)
        except RuntimeError:  # no thread can start; one that is free later may still do it
            self.decoder.end()
            raise
        # It may never be read.
        job.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.shield(job)
        except TimeoutError:
            await self._end(job)
            slow = f"{what} took over {PATIENCE:.0f} seconds to decode"
            raise RequestError(f"{slow}; send it smaller") from None
        except asyncio.CancelledError:
            try:
                await asyncio.wait({job}, timeout=GRACE)
            finally:  # it may be cancelled again
                await self._end(job)
            raise
        except (EOFError, BrokenPipeError):
            raise RequestError(f"{what} cannot be decoded: the decoder failed on it") from None

    def _done(self, function: Callable[[], T]) -> T:
        try:
            return function()
        except RequestError:
            raise
        except BaseException:  # what is left in its pipe would be read by the next call
            self.decoder.end()
            raise

    async def _end(self, job: "asyncio.Future[Any]") -> None:
        if not job.done():
            self.decoder.end()
            await asyncio.wait({job}, timeout=PATIENCE)  # it may encode, which nothing can end


@dataclass(frozen=True, kw_only=True, eq=False)
class _WaitingCall:
    cost: int
    weight: int
    decoder: "asyncio.Future[Decoder]" = field(default_factory=asyncio.Future)


class Decoders:
    """A few processes; the cheapest call has the next turn, and one process is for cheap ones."""

    def __init__(self, folder: Path | None, threads: ThreadPoolExecutor, count: int) -> None:
        """Start `count` processes, two at least; `threads` are as many."""
        self._folder = folder
        self._threads = threads
        self._free = [Decoder(folder) for _ in range(count)]
        self._all = set(self._free)
        self._waiting: list[_WaitingCall] = []  # the cheapest first
        self._at_work = 0

    @asynccontextmanager
    async def turn(self, cost: int, largest: int) -> AsyncIterator[DecoderLease]:
        """Give a decoder when it is the caller's turn.

        Args:
            cost: pixels of the call, or bytes of its body.
            largest: pixels of its largest image, or bytes of its body.
        """
        wanted = _WaitingCall(cost=cost, weight=0 if cost <= CHEAP else largest)
        insort(self._waiting, wanted, key=lambda each: each.cost)
        self._begin()
        try:
            decoder = await wanted.decoder
        except asyncio.CancelledError:
            if wanted in self._waiting:
                self._waiting.remove(wanted)
            else:  # it was given one in the same moment
                self._put_back(wanted.decoder.result(), wanted.weight)
            raise
        try:
            yield DecoderLease(decoder, self._threads)
        finally:
            self._put_back(decoder, wanted.weight)

    def close(self) -> None:
        """End all processes."""
        for decoder in self._all:
            decoder.end()
            decoder.reap()

    def _begin(self) -> None:
        for wanted in tuple(self._waiting):
            if wanted.cost <= CHEAP:
                fits = bool(self._free)
            else:
                fits = len(self._free) > 1 and self._at_work + wanted.weight <= AT_WORK
            if fits and not wanted.decoder.done():  # it may just have left
                self._waiting.remove(wanted)
                self._at_work += wanted.weight
                wanted.decoder.set_result(self._free.pop())

    def _put_back(self, decoder: Decoder, weight: int) -> None:
        if decoder.ended:
            # Where no process or thread can start, it is tried again after the next call.
            with suppress(OSError, RuntimeError):
                ended, decoder = decoder, Decoder(self._folder)
                self._all.remove(ended)
                self._all.add(decoder)
                self._threads.submit(ended.reap)
        self._at_work -= weight
        self._free.append(decoder)
        self._begin()
