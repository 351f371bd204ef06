"""The body of a response, and the connection under it, which is closed whenever it is not read to its end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import httpx

__all__ = ["open_body", "read_body"]


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
