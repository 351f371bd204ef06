"""aiohttp behind httpx's transport seam: the default engine.

Its C parser costs half of what httpx's own engine does for each event, and its pool does not slow down with every open
stream. It sends a request and hands on the response as it comes: no redirects, no cookies, no decompression.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Final

import aiohttp
import httpx
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from claude_grpc.upstream.small_reads import SmallReadsConnector

__all__ = ["AiohttpTransport"]

# A larger piece of a body is cut, so that the write timeout is one of progress and little waits in memory.
_PIECE_BYTES: Final = 256 * 1024
# Twice as much may wait for a slow reader; then its upstream waits, too. What it gets at once is no more than this.
_UNREAD_BYTES: Final = 4 * 1024
# aiohttp would add these of itself; what is sent is the caller's to say.
_AUTO_HEADERS: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_EXTENSIONS: Final = {"http_version": b"HTTP/1.1"}
_HTTPX_ERRORS: Final[tuple[tuple[type[Exception], type[httpx.TransportError]], ...]] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (aiohttp.ServerTimeoutError, httpx.ReadTimeout),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.ClientHttpProxyError, httpx.ProxyError),
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError),
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError),
    (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
    (Exception, httpx.ReadError),
)


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends requests with aiohttp and raises httpx's exceptions.

    Honours ``request.extensions["timeout"]`` as httpx's own transport does. To close a response that was not read to
    its end, or to cancel the task that waits for one, closes the connection at once. Bound to the event loop of its
    first request.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext,
        proxy: str | None,
        max_connections: int,
        idle_seconds: float,
        socket_options: Sequence[tuple[int, int, int]],
    ) -> None:
        self._tls = tls
        self._proxy = proxy
        self._idle_seconds = idle_seconds
        self._socket_options = socket_options
        # To aiohttp waiting for a free connection is connecting; here they are two things, with two timeouts.
        self._slots = asyncio.Semaphore(max_connections)
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` and return the response as soon as its headers are there."""
        timeouts: dict[str, float | None] = request.extensions.get("timeout", {})
        await self._take_slot(timeouts.get("pool"))
        upload = _Upload(request.stream, timeouts.get("write"))
        try:
            response = await self._send(request, upload, timeouts)
        except BaseException as error:
            self._slots.release()
            upload.abort()
            if isinstance(error, aiohttp.ClientError | OSError):
                raise upload.failure or _httpx_error(error) from error
            raise
        body = _Body(response, self._slots.release)
        return httpx.Response(response.status, headers=response.raw_headers, stream=body, extensions=_EXTENSIONS)

    async def aclose(self) -> None:
        """Close every connection, busy or idle."""
        if self._session is not None:
            await self._session.close()

    async def _take_slot(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._slots.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout("Every connection is in use.") from error

    async def _send(
        self, request: httpx.Request, upload: _Upload, timeouts: dict[str, float | None]
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = self._make_session()
        headers = request.headers
        has_body = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
        return await self._session.request(
            request.method,
            URL(str(request.url), encoded=True),
            headers=[item for item in headers.multi_items() if item[0] != "transfer-encoding"],
            data=upload if has_body else None,
            allow_redirects=False,
            proxy=self._proxy,
            timeout=aiohttp.ClientTimeout(connect=timeouts.get("connect"), sock_read=timeouts.get("read")),
        )

    def _make_session(self) -> aiohttp.ClientSession:
        connector = SmallReadsConnector(
            limit=0, ssl=self._tls, keepalive_timeout=self._idle_seconds, socket_factory=self._make_socket
        )
        # Without trust_env: with it a .netrc would replace the API key, and the proxy is known already.
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_AUTO_HEADERS,
            read_bufsize=_UNREAD_BYTES,
        )

    def _make_socket(self, address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, *_ = address
        made = socket.socket(family, kind, protocol)
        for option in self._socket_options:
            made.setsockopt(*option)
        return made


class _Upload(aiohttp.Payload):
    """A request's body on its way; aiohttp itself knows no write timeout.

    ``failure`` is what stopped it: an httpx exception, or that of the body's source.
    """

    def __init__(self, source: Any, timeout: float | None) -> None:
        super().__init__(source)
        self.failure: Exception | None = None
        self._timeout = timeout
        self._transport: asyncio.WriteTransport | None = None

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send everything the source has; aiohttp runs this beside its wait for the response."""
        self._transport = writer.transport
        try:
            async for chunk in self._value:
                for piece in _pieces(chunk):
                    await self._write_piece(writer, piece)
        except BaseException as error:
            self.abort()
            if self.failure is None and isinstance(error, Exception):
                self.failure = error
            raise

    def abort(self) -> None:
        """Close the connection without sending what waits in its buffer, or waiting for the peer's TLS farewell."""
        if self._transport is not None:
            self._transport.abort()

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Refuse: the body is read once, while it is sent."""
        raise NotImplementedError

    async def _write_piece(self, writer: AbstractStreamWriter, piece: bytes | memoryview) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await writer.write(piece)
        except TimeoutError:
            self.failure = httpx.WriteTimeout("The request was not taken in time.")
            raise
        except OSError:
            self.failure = httpx.WriteError("The connection broke while the request was sent.")
            raise


class _Body(httpx.AsyncByteStream):
    """A response's body, in the pieces the network brings."""

    def __init__(self, response: aiohttp.ClientResponse, release_slot: Callable[[], None]) -> None:
        self._response = response
        self._content = response.content
        self._release_slot: Callable[[], None] | None = release_slot
        self._failure: httpx.TransportError | None = None
        # None if the whole body came with the headers: then the connection is no longer this response's.
        self._protocol = None if response.connection is None else response.connection.protocol
        self._closed = None if self._protocol is None else self._protocol.closed
        if self._closed is not None:
            self._closed.add_done_callback(self._on_closed)
        elif self._protocol is not None:
            self._fail_if_waiting()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._failure is not None:
            raise self._failure
        try:
            chunk = await self._content.read(_UNREAD_BYTES)
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
        connection = self._response.connection
        if connection is not None:
            # Not close(): that would first send what is buffered and wait for the peer's TLS farewell.
            if connection.transport is not None:
                connection.transport.abort()
            self._response.close()
        self._let_go()

    def _let_go(self) -> None:
        if self._closed is not None:
            self._closed.remove_done_callback(self._on_closed)
        if self._release_slot is not None:
            self._release_slot()
            self._release_slot = None

    def _on_closed(self, closed: asyncio.Future[None]) -> None:
        if not closed.cancelled():
            closed.exception()  # seen: asyncio need not report it
        self._fail_if_waiting()

    def _fail_if_waiting(self) -> None:
        # After a chunk it cannot parse, aiohttp closes the connection and tells the reader nothing, not even a timeout.
        if not self._content.is_eof() and self._content.exception() is None:
            self._content.set_exception(aiohttp.ClientPayloadError("The response has a malformed chunk."))

    def _reason(self, error: Exception) -> httpx.TransportError:
        if self._protocol is not None and isinstance(self._protocol.exception(), aiohttp.ClientOSError):
            return httpx.ReadError("The connection broke within the response.")
        return _httpx_error(error)


def _pieces(chunk: bytes) -> Iterator[bytes | memoryview]:
    if len(chunk) <= _PIECE_BYTES:
        yield chunk
        return
    view = memoryview(chunk)
    for start in range(0, len(view), _PIECE_BYTES):
        yield view[start : start + _PIECE_BYTES]


def _httpx_error(error: Exception) -> httpx.TransportError:
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return httpx.RemoteProtocolError("Server disconnected without sending a response.")
    return next(httpx_type for kind, httpx_type in _HTTPX_ERRORS if isinstance(error, kind))(str(error))
