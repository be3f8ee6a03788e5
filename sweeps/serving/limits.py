"""Limits of clients: amounts that their calls share, and bodies in size, time and memory."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

from fastapi import Request

MAX_BODY = 32_000_000
"""Bytes of the largest body that is read."""
HELD = 256_000_000
"""Bytes of all bodies: of those that come, and of those whose calls are not answered yet."""
CHEAP = 1_000_000
"""Bytes of a body that finds room beside large ones."""
FIRST = 10.0
"""Seconds that a body has to come, and one more for each `RATE` bytes of it that came."""
RATE = 100_000
DISCARDED = 8 * MAX_BODY
"""Bytes of a larger one that are read and discarded: a client that still sends would not see the
answer. Beyond them the connection is closed on it."""
PATIENCE = 20.0
"""Seconds for which a body is read to be discarded."""


class CallError(Exception):
    """A call that is not answered with captions; the message is one sentence for its client."""

    def __init__(self, status: int, message: str) -> None:
        """Take the HTTP status that goes with the sentence."""
        super().__init__(message)
        self.status = status


class Quota:
    """An amount that calls share, such as bytes; its last quarter is left to cheap calls."""

    def __init__(self, total: int, cheap: int, what: str) -> None:
        """Take the most that a cheap call needs, and what errors call the amount."""
        self._total = total
        self._cheap = cheap
        self._what = what
        self.taken = 0

    def fits(self, amount: int, held: int = 0) -> bool:
        """Return whether a call that holds `held` of it can have `amount` more."""
        cheap = held + amount <= self._cheap
        return self.taken + amount <= self._total * (1 if cheap else 0.75)

    @contextmanager
    def take(self, amount: int) -> Iterator[None]:
        """Hold an amount as long as the block lasts; raises `CallError` where it does not fit."""
        if not self.fits(amount):
            raise CallError(503, f"too many {self._what} at once; come again in a second")
        self.taken += amount
        try:
            yield
        finally:
            self.taken -= amount


@dataclass(frozen=True, kw_only=True, eq=False)
class _Coming:
    limit: asyncio.Timeout
    body: bytearray = field(default_factory=bytearray)


class Bodies:
    """The bodies of all calls. Where they fill the room, those that came slowest make some."""

    def __init__(self) -> None:
        self._room = Quota(HELD, CHEAP, "bytes")
        self._coming: list[_Coming] = []  # the oldest first

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytearray]:
        """Give the body, which counts as held as long as the block lasts.

        Raises `CallError` for one that is too large, too slow, or finds no room.
        """
        declared = request.headers.get("content-length", "0")
        if declared.isascii() and declared.isdigit() and int(declared) > MAX_BODY:
            await discard(request)
            raise _too_large()
        coming = _Coming(limit=asyncio.timeout(FIRST))
        try:
            await self._fill(coming, request.stream())
            yield coming.body
        finally:
            self._room.taken -= len(coming.body)

    async def _fill(self, coming: _Coming, stream: AsyncIterator[bytes]) -> None:
        self._coming.append(coming)
        started = asyncio.get_running_loop().time()
        try:
            async with coming.limit:
                async for chunk in stream:
                    if coming not in self._coming:
                        raise TimeoutError
                    size = len(coming.body) + len(chunk)
                    if size > MAX_BODY:
                        self._drop(coming)
                        coming.limit.reschedule(None)
                        await _discard(stream)
                        raise _too_large()
                    while not self._room.fits(len(chunk), held=len(coming.body)):
                        oldest = self._coming.pop(0)
                        if oldest is coming:
                            raise CallError(503, "too many bytes at once; come again in a second")
                        self._drop(oldest)
                        with suppress(RuntimeError):  # its time has just passed
                            oldest.limit.reschedule(0)
                    self._room.taken += len(chunk)
                    coming.body.extend(chunk)
                    coming.limit.reschedule(started + FIRST + size / RATE)
        except TimeoutError:
            fast = f"with at least {RATE} bytes a second, and faster while others need the room"
            raise CallError(408, f"the body must come {fast}; send it again") from None
        finally:
            if coming in self._coming:
                self._coming.remove(coming)

    def _drop(self, coming: _Coming) -> None:
        self._room.taken -= len(coming.body)
        coming.body.clear()


async def discard(request: Request) -> None:
    """Read a body and keep nothing of it, unless the client waits for a sign to send it."""
    if request.headers.get("expect", "").lower() != "100-continue":
        await _discard(request.stream())


async def _discard(stream: AsyncIterator[bytes]) -> None:
    size = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            async for chunk in stream:
                size += len(chunk)
                if size > DISCARDED:
                    return


def _too_large() -> CallError:
    return CallError(413, f"the request must have at most {MAX_BODY} bytes; send fewer images")
