"""aiohttp's connections and its parser: the default engine.

Of aiohttp it takes what is hard: connecting, with TLS and proxies; the pool; the parser in C. What it leaves out is the
client around them, which costs several times as much for each call.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from typing import Any, Final

import aiohttp
import httpx
from aiohttp import ClientRequest, hdrs
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import StreamReader
from yarl import URL

from claude_grpc.upstream.aiohttp_errors import AIOHTTP_FAILURES, httpx_error
from claude_grpc.upstream.aiohttp_response import UNREAD_BYTES, AiohttpResponse, abort
from claude_grpc.upstream.aiohttp_upload import SMALL_BYTES, Upload
from claude_grpc.upstream.http import HttpRequest
from claude_grpc.upstream.small_reads import SmallReadsConnector, gather
from claude_grpc.upstream.windows import Windows

__all__ = ["AiohttpTransport"]

_FIRST_FINAL_STATUS: Final = 200


class AiohttpTransport:
    """An ``HttpTransport`` over aiohttp's connections."""

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
        self._origins: dict[str, ClientRequest] = {}
        self._windows: Windows | None = None

    async def send(self, request: HttpRequest) -> AiohttpResponse:
        """Send a request, and return its response as soon as the headers are there."""
        await self._take_slot(request.timeouts.get("pool"))
        connection = upload = None
        try:
            origin = self._origin(request.origin)
            connection = await self._connect(origin, request.timeouts.get("connect"))
            assert connection.protocol is not None  # noqa: S101 # it is new, or fresh from the pool
            upload = _send(request, origin, connection.protocol)
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
        if request.window and connection.transport is not None:
            self._windows = self._windows or Windows()
            gather(content, connection.transport, self._windows, request.window)
        return AiohttpResponse(message, content, connection, upload, self._slots.release)

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

    def _origin(self, origin: str) -> ClientRequest:
        """What aiohttp must know to connect: a request that is never sent, the same for all to one server."""
        if origin not in self._origins:
            url = URL(origin)
            if url.scheme not in {"http", "https"} or not url.host:
                raise httpx.UnsupportedProtocol(f"The request's origin is not http(s)://HOST: {origin}")
            self._origins[origin] = ClientRequest(hdrs.METH_GET, url, proxy=self._proxy)
        return self._origins[origin]

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


def _send(request: HttpRequest, origin: ClientRequest, protocol: ResponseHandler) -> Upload | None:
    """Send the head, and with it the body if that is small; what comes back sends the rest."""
    head = _head(request, origin)
    body = request.body if isinstance(request.body, bytes) and len(request.body) <= SMALL_BYTES else None
    protocol.set_response_params(
        skip_payload=request.method == hdrs.METH_HEAD,
        read_until_eof=True,
        auto_decompress=False,
        read_timeout=request.timeouts.get("read"),
        read_bufsize=UNREAD_BYTES,
    )
    assert protocol.transport is not None  # noqa: S101 # it is connected, and nothing was awaited since
    request.on_sent()
    protocol.transport.write(head + (body or b""))
    if body is None:
        return Upload(request, protocol)
    protocol.start_timeout()
    return None


def _head(request: HttpRequest, origin: ClientRequest) -> bytes:
    target = request.target
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    if origin.proxy is not None and not origin.is_ssl():
        target = request.origin + target
        # Connecting has put it there.
        if credentials := origin.headers.get(hdrs.PROXY_AUTHORIZATION):
            lines.append(f"proxy-authorization: {credentials}")
    head = "\r\n".join((f"{request.method} {target} HTTP/1.1", *lines, "", ""))
    if not (head.isascii() and head.count("\n") == head.count("\r") == len(lines) + 2):
        raise httpx.LocalProtocolError("A header of the request holds a line break, or what is not ASCII.")
    return head.encode("ascii")


async def _response(protocol: ResponseHandler) -> tuple[RawResponseMessage, StreamReader]:
    while True:
        message, content = await protocol.read()
        if message.code >= _FIRST_FINAL_STATUS:
            return message, content
