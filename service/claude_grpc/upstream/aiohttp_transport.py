"""aiohttp's connections and its parser behind httpx's transport seam: the default engine.

Of aiohttp it takes what is hard: connecting, with TLS and proxies; the pool; the parser in C. What it leaves out is the
client around them, which costs several times as much for each call. It sends a request as it is and hands on the
response as it comes: no redirects, no cookies, no decompression, no header of its own.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Final

import aiohttp
import httpx
from aiohttp import ClientRequest, hdrs
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import StreamReader
from yarl import URL

from claude_grpc.upstream.aiohttp_body import UNREAD_BYTES, ResponseBody, abort
from claude_grpc.upstream.aiohttp_errors import AIOHTTP_FAILURES, httpx_error
from claude_grpc.upstream.aiohttp_upload import Upload, small_body
from claude_grpc.upstream.small_reads import SmallReadsConnector

__all__ = ["AiohttpTransport"]

_FIRST_FINAL_STATUS: Final = 200
_EXTENSIONS: Final = {"http_version": b"HTTP/1.1"}


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends requests over aiohttp's connections and raises httpx's exceptions.

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
        self._proxy = None if proxy is None else URL(proxy)
        self._idle_seconds = idle_seconds
        self._socket_options = socket_options
        # To aiohttp waiting for a free connection is connecting; here they are two things, with two timeouts.
        self._slots = asyncio.Semaphore(max_connections)
        self._connector: aiohttp.TCPConnector | None = None
        self._origins: dict[tuple[bytes, bytes, int | None], ClientRequest] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` and return the response as soon as its headers are there."""
        timeouts: Mapping[str, float | None] = request.extensions.get("timeout", {})
        await self._take_slot(timeouts.get("pool"))
        connection = upload = None
        try:
            origin = self._origin(request.url)
            connection = await self._connect(origin, timeouts.get("connect"))
            assert connection.protocol is not None  # noqa: S101 # it is new, or fresh from the pool
            upload = _send(request, origin, connection.protocol, timeouts)
            message, content = await _response(connection.protocol)
        except BaseException as error:
            self._slots.release()
            if upload is not None:
                upload.abort()
            if connection is not None:
                abort(connection)
            if isinstance(error, AIOHTTP_FAILURES):
                raise (upload and upload.failure) or httpx_error(error) from error
            raise
        body = ResponseBody(content, connection, upload, self._slots.release)
        return httpx.Response(message.code, headers=list(message.raw_headers), stream=body, extensions=_EXTENSIONS)

    async def aclose(self) -> None:
        """Close every connection, busy or idle."""
        if self._connector is not None:
            await self._connector.close()

    async def _take_slot(self, seconds: float | None) -> None:
        if not self._slots.locked():
            await self._slots.acquire()  # without waiting
            return
        try:
            async with asyncio.timeout(seconds):
                await self._slots.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout("Every connection is in use.") from error

    def _origin(self, url: httpx.URL) -> ClientRequest:
        """What aiohttp must know to connect: a request that is never sent, the same for all to one server."""
        key = (url.raw_scheme, url.raw_host, url.port)
        if key not in self._origins:
            if url.scheme not in {"http", "https"} or not url.host:
                raise httpx.UnsupportedProtocol(f"The request's URL is not http(s)://HOST: {url}")
            origin = URL(str(url.copy_with(raw_path=b"/")), encoded=True)
            self._origins[key] = ClientRequest(hdrs.METH_GET, origin, proxy=self._proxy)
        return self._origins[key]

    async def _connect(self, origin: ClientRequest, seconds: float | None) -> Connection:
        if self._connector is None:
            self._connector = SmallReadsConnector(
                limit=0, ssl=self._tls, keepalive_timeout=self._idle_seconds, socket_factory=self._make_socket
            )
        try:
            return await self._connector.connect(origin, [], aiohttp.ClientTimeout(connect=seconds))
        except TimeoutError as error:
            raise httpx.ConnectTimeout("No connection came about in time.") from error

    def _make_socket(self, address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, *_ = address
        made = socket.socket(family, kind, protocol)
        for option in self._socket_options:
            made.setsockopt(*option)
        return made


def _send(
    request: httpx.Request, origin: ClientRequest, protocol: ResponseHandler, timeouts: Mapping[str, float | None]
) -> Upload | None:
    """Send the head, and with it the body if that is small; what comes back sends the rest."""
    head = _head(request, origin)
    body = small_body(request)
    protocol.set_response_params(
        skip_payload=request.method == hdrs.METH_HEAD,
        read_until_eof=True,
        auto_decompress=False,
        read_timeout=timeouts.get("read"),
        read_bufsize=UNREAD_BYTES,
    )
    assert protocol.transport is not None  # noqa: S101 # it is connected, and nothing was awaited since
    protocol.transport.write(head + (body or b""))
    if body is None:
        return Upload(request, protocol, timeouts.get("write"))
    protocol.start_timeout()
    return None


def _head(request: httpx.Request, origin: ClientRequest) -> bytes:
    target = request.url.raw_path
    headers = request.headers.raw
    if origin.proxy is not None and not origin.is_ssl():
        target = str(request.url).encode("ascii")
        # Connecting has put it there.
        if credentials := origin.headers.get(hdrs.PROXY_AUTHORIZATION):
            headers = [*headers, (b"Proxy-Authorization", credentials.encode("ascii"))]
    lines = [b"%s %s HTTP/1.1" % (request.method.encode("ascii"), target)]
    lines += [name + b": " + value for name, value in headers]
    head = b"\r\n".join(lines) + b"\r\n\r\n"
    if not head.count(b"\n") == head.count(b"\r") == len(lines) + 1:
        raise httpx.LocalProtocolError("A header of the request holds a line break.")
    return head


async def _response(protocol: ResponseHandler) -> tuple[RawResponseMessage, StreamReader]:
    while True:
        message, content = await protocol.read()
        if message.code >= _FIRST_FINAL_STATUS:
            return message, content
