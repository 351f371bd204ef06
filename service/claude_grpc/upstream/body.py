"""The bodies of requests and responses, and the connection, closed whenever a response is not read to its end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import httpx

__all__ = ["WatchedBody", "open_body", "read_body"]


class WatchedBody(httpx.AsyncByteStream):
    """The body of a request; ``taken`` is called when an engine takes it, which it does once it has a connection."""

    def __init__(self, body: bytes, taken: Callable[[], None]) -> None:
        self._body = body
        self._taken = taken

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._taken()
        yield self._body


@asynccontextmanager
async def open_body(response: httpx.Response) -> AsyncIterator[AsyncIterator[bytes]]:
    """Hand out the body in the pieces the network brings.

    When it was read to its end the connection may serve again; when the context is left earlier, it is closed at once.
    """
    # Not aiter_raw(): it counts and cuts what is to be passed on as it comes.
    pieces = aiter(cast("httpx.AsyncByteStream", response.stream))
    try:
        yield pieces
    finally:
        await response.aclose()
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


async def read_body(pieces: AsyncIterator[bytes], limit: int) -> bytes | None:
    """Return the whole body, or None as soon as it has more than ``limit`` bytes."""
    read = []
    size = 0
    async for piece in pieces:
        size += len(piece)
        if size > limit:
            return None
        read.append(piece)
    return b"".join(read)
