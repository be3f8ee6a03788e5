"""Reading a request's body up to a limit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from fastapi import Request

MAX_BODY = 32_000_000
"""Bytes of the largest body that is read."""
DISCARDED = 8 * MAX_BODY
"""Bytes of a larger one that are taken and thrown away: a client that still sends would not
see the answer. Beyond them the connection is closed on it."""
PATIENCE = 20.0
"""Seconds for which a body that is not wanted is taken."""


class TooLargeError(ValueError):
    """A body above `MAX_BODY`; the message says so."""

    def __init__(self) -> None:
        super().__init__(f"the request must have at most {MAX_BODY} bytes; send fewer images")


async def read(request: Request) -> bytes:
    """Return the body; raises `TooLargeError`, without keeping more than `MAX_BODY` of it."""
    if declared(request) > MAX_BODY:
        await discard(request)
        raise TooLargeError
    chunks: list[bytes] = []
    size = 0
    stream = request.stream()
    async for chunk in stream:
        size += len(chunk)
        if size > MAX_BODY:
            chunks.clear()
            await _discard(stream)
            raise TooLargeError
        chunks.append(chunk)
    return b"".join(chunks)


async def discard(request: Request) -> None:
    """Take what the client sends and keep nothing, unless it waits to be told to go on."""
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


def declared(request: Request) -> int:
    """Return the length that the client says the body has; 0 when it says none."""
    length = request.headers.get("content-length", "0")
    return int(length) if length.isascii() and length.isdigit() else 0
