"""A response, whose body comes in the pieces the network brings; and its connection's way back to the pool."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Self

import aiohttp
import httpx
from aiohttp import hdrs
from aiohttp.connector import Connection
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import StreamReader

from claude_grpc.upstream.aiohttp_errors import httpx_error
from claude_grpc.upstream.aiohttp_upload import Upload, reset
from claude_grpc.upstream.http import response_headers
from claude_grpc.upstream.small_reads import LARGE_BYTES, read_much

__all__ = ["UNREAD_BYTES", "AiohttpResponse", "abort"]

# Twice as much of events may wait for a slow reader; then its upstream waits, too. What it gets at once is no more.
UNREAD_BYTES: Final = 2 * 1024
_EVENTS: Final = "text/event-stream"


def abort(connection: Connection) -> None:
    """Close a connection at once, and take it out of the pool."""
    # Its close() alone would first send what is buffered and wait for the peer's TLS farewell.
    if connection.transport is not None:
        reset(connection.transport)
    connection.close()


class AiohttpResponse:
    """An ``HttpResponse``; ``upload`` is what is still being sent of the request's body."""

    def __init__(
        self,
        message: RawResponseMessage,
        content: StreamReader,
        connection: Connection,
        upload: Upload | None,
        release_slot: Callable[[], None],
    ) -> None:
        assert connection.protocol is not None  # noqa: S101 # it has just brought the response
        self.status = message.code
        self._raw_headers = message.raw_headers
        self._content = content
        self._connection: Connection | None = connection
        self._upload = upload
        self._release_slot: Callable[[], None] | None = release_slot
        self._failure: httpx.TransportError | None = None
        self._protocol = connection.protocol
        self._closed: asyncio.Future[None] | None = None
        self._most_bytes = UNREAD_BYTES
        if not content.is_eof():
            self._watch_connection()
            if connection.transport is not None and not message.headers.get(hdrs.CONTENT_TYPE, "").startswith(_EVENTS):
                self._most_bytes = LARGE_BYTES
                read_much(content, connection.transport)
        content.on_eof(self._on_eof)

    @property
    def headers(self) -> dict[str, str]:
        """By name in lower case; made anew each time, for a long stream need not keep them twice."""
        return response_headers(self._raw_headers)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._failure is not None:
            raise self._failure
        try:
            chunk = await self._content.read(self._most_bytes)
        except (aiohttp.ClientError, OSError) as error:
            self._failure = self._reason(error)
            # A slow reader still gets what came before the failure; aiohttp would drop it.
            chunk = self._content._read_nowait(-1)  # noqa: SLF001
            if not chunk:
                raise self._failure from error
        if not chunk:
            self._let_go()
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Close the connection, unless the body has come whole and it is in the pool again."""
        if self._connection is not None:
            if self._upload is not None:
                self._upload.abort()
            abort(self._connection)
            self._connection = None
        self._let_go()

    def _on_eof(self) -> None:
        if self._connection is None:
            return
        if self._upload is not None and not self._upload.is_done:
            # What is left of the request would be the next one's beginning.
            self._upload.abort()
            abort(self._connection)
        else:
            self._connection.release()
        self._connection = None

    def _watch_connection(self) -> None:
        self._closed = self._protocol.closed
        if self._closed is not None:
            self._closed.remove_done_callback(_seen)
            self._closed.add_done_callback(_seen)
            self._closed.add_done_callback(self._on_closed)

    def _on_closed(self, _closed: asyncio.Future[None]) -> None:
        # After a chunk it cannot parse, aiohttp closes the connection and leaves the reader waiting for ever.
        if not self._content.is_eof() and self._content.exception() is None:
            self._content.set_exception(aiohttp.ClientPayloadError("The response has a malformed chunk."))

    def _let_go(self) -> None:
        if self._closed is not None:
            self._closed.remove_done_callback(self._on_closed)
        if self._release_slot is not None:
            self._release_slot()
            self._release_slot = None

    def _reason(self, error: Exception) -> httpx.TransportError:
        if isinstance(self._protocol.exception(), aiohttp.ClientOSError):
            return httpx.ReadError("The connection broke within the response.")
        return httpx_error(error)


def _seen(closed: asyncio.Future[None]) -> None:
    """Keep asyncio from reporting how a connection ended that nobody used any more."""
    if not closed.cancelled():
        closed.exception()
