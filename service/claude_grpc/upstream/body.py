"""The bodies of requests and responses, and the connection, closed whenever a response is not read to its end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import cast

import httpx

from claude_grpc.upstream.upload import StreamedBody

__all__ = ["open_body", "read_body", "watched_body"]


class _WatchedBytes(httpx.ByteStream):
    def __init__(self, body: bytes, taken: Callable[[], None]) -> None:
        super().__init__(body)
        self._taken = taken

    def __iter__(self) -> Iterator[bytes]:
        self._taken()
        yield from super().__iter__()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._taken()
        async for piece in super().__aiter__():
            yield piece


class _WatchedPieces(httpx.AsyncByteStream):
    def __init__(self, body: StreamedBody, taken: Callable[[], None]) -> None:
        self._body = body
        self._taken = taken

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._taken()
        async for piece in self._body:
            yield piece


def watched_body(body: bytes | StreamedBody, taken: Callable[[], None]) -> httpx.AsyncByteStream:
    """The body of a request; ``taken`` is called when an engine takes it, which it does once it has a connection."""
    return _WatchedPieces(body, taken) if isinstance(body, StreamedBody) else _WatchedBytes(body, taken)


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
