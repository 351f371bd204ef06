"""httpx's own engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Self, cast

import httpx

from claude_grpc.upstream.http import HttpRequest, HttpResponse, response_headers

__all__ = ["HttpxTransport"]


class HttpxTransport:
    """An ``HttpTransport`` over httpx's transport."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send a request, and return its response as soon as the headers are there."""
        made = httpx.Request(
            request.method,
            request.origin + request.target,
            headers=dict(request.headers),
            stream=_RequestBody(request),
            extensions={"timeout": dict(request.timeouts)},
        )
        return _Response(await self._transport.handle_async_request(made))

    async def aclose(self) -> None:
        """Close every connection, busy or idle."""
        await self._transport.aclose()


class _RequestBody(httpx.AsyncByteStream):
    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        # httpx takes the body, be it empty, once it has a connection.
        self._request.on_sent()
        if isinstance(self._request.body, bytes):
            yield self._request.body
            return
        async for piece in self._request.body:
            yield piece


class _Response:
    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.headers = response_headers(response.headers.raw)
        self._response = response
        # Not aiter_raw(): it counts and cuts what is to be passed on as it comes.
        self._pieces = aiter(cast("httpx.AsyncByteStream", response.stream))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        await self._response.aclose()
        if hasattr(self._pieces, "aclose"):  # it is a generator
            await self._pieces.aclose()
