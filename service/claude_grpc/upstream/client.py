"""The one place that sends requests to the Claude API.

A request goes ``send``, ``stream``, ``lines`` or ``download`` → ``_open_with_retry`` → ``_open_once`` → the transport.
Opening ends with the headers of a successful response; it alone is retried, since nothing of an answer has gone to the
caller before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import lru_cache
from math import inf
from typing import Final, NamedTuple

import httpx

from claude_grpc.errors import (
    InvalidRequestError,
    UpstreamConnectionError,
    UpstreamContext,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamStatusError,
    UpstreamTimeoutError,
    Violation,
)
from claude_grpc.upstream.body import open_body, read_body
from claude_grpc.upstream.exchange import Endpoint, Timeouts, UpstreamRequest, UpstreamResponse, is_header_value
from claude_grpc.upstream.failures import (
    TRANSPORT_FAILURES,
    api_error,
    context_of,
    error_before_answer,
    error_within_answer,
)
from claude_grpc.upstream.jsonl import JSONLDecoder
from claude_grpc.upstream.retry import Outcome, RetryPolicy
from claude_grpc.upstream.sse import SSEDecoder
from claude_grpc.upstream.stream import ByteStream, EventStream, LineStream, Undecoded
from claude_grpc.upstream.upload import StreamedBody

__all__ = ["UpstreamClient"]

_JSON: Final = "application/json"
_EVENT_STREAM: Final = "text/event-stream"
_BYTES: Final = "application/binary"
_ANYTHING: Final = ""
_MEBIBYTE: Final = 1024 * 1024
_MAX_ERROR_BYTES: Final = 64 * 1024
_ERROR_BODY_SECONDS: Final = 5.0
# At its deadline a call is cancelled from above, with a status of its own; timeouts are there in case it is not.
_DEADLINE_SLACK: Final = 1.0


class _Opened(NamedTuple):
    response: httpx.Response
    context: UpstreamContext


class UpstreamClient:
    """Calls one Claude API over one transport, which it owns.

    Raises the subclasses of ``UpstreamError``, each with its context, and ``InvalidRequestError`` for a header that
    cannot be sent. Cancelling a call closes its connection at once, in every phase.

    Args:
        transport: From ``make_transport``.
        endpoint: Where to send, and with which credentials.
        timeouts: For each attempt; a request's deadline shortens them.
        retry: When a failed attempt is followed by another.
        user_agent: Sent with every request.
        max_response_bytes: A unary answer with a longer body is an ``UpstreamProtocolError``.
        max_event_bytes: And so is a longer event or line of a stream.
        sleep: Waits between attempts.
        clock: Monotonic; the one that deadlines are given in.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        endpoint: Endpoint,
        *,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        user_agent: str = "claude-grpc",
        max_response_bytes: int = 256 * _MEBIBYTE,
        max_event_bytes: int = 64 * _MEBIBYTE,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._timeouts = timeouts or Timeouts()
        self._retry = retry or RetryPolicy()
        self._max_response_bytes = max_response_bytes
        self._max_event_bytes = max_event_bytes
        self._sleep = sleep
        self._clock = clock
        base_url = endpoint.base_url.rstrip("/")
        self._url = lru_cache(maxsize=128)(lambda path: httpx.URL(base_url + path))
        self._headers = {
            "accept": _JSON,
            "accept-encoding": "identity",
            "content-type": _JSON,
            "user-agent": user_agent,
            **endpoint.headers(),
        }

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Return the whole answer, which is JSON."""
        response, context = await self._open_with_retry(request, _JSON)
        async with open_body(response) as pieces:
            try:
                body = await read_body(pieces, self._max_response_bytes)
            except TRANSPORT_FAILURES as failure:
                raise error_within_answer(failure, context) from failure
        if body is None:
            raise UpstreamProtocolError(f"Upstream's answer has over {self._max_response_bytes} bytes.", context)
        return UpstreamResponse(status=response.status_code, headers=response.headers, body=body, context=context)

    @asynccontextmanager
    async def stream(self, request: UpstreamRequest) -> AsyncIterator[EventStream]:
        """Open a stream of events; to leave the context before the stream's end closes its connection at once."""
        response, context = await self._open_with_retry(request, _EVENT_STREAM)
        async with open_body(response) as pieces:
            yield EventStream(pieces, context, SSEDecoder(max_event_bytes=self._max_event_bytes))

    @asynccontextmanager
    async def lines(self, request: UpstreamRequest) -> AsyncIterator[LineStream]:
        """Open an answer of JSON lines; leaving it early closes its connection, as with ``stream``."""
        response, context = await self._open_with_retry(_of_bytes(request), _ANYTHING)
        async with open_body(response) as pieces:
            decoder = JSONLDecoder(max_line_bytes=self._max_event_bytes)
            yield LineStream(pieces, context, decoder, status=response.status_code, headers=response.headers)

    @asynccontextmanager
    async def download(self, request: UpstreamRequest) -> AsyncIterator[ByteStream]:
        """Open an answer of bytes, of whatever kind; leaving it early closes its connection, as with ``stream``."""
        response, context = await self._open_with_retry(_of_bytes(request), _ANYTHING)
        async with open_body(response) as pieces:
            yield ByteStream(pieces, context, Undecoded(), status=response.status_code, headers=response.headers)

    async def aclose(self) -> None:
        """Close the transport with all its connections."""
        await self._transport.aclose()

    async def _open_with_retry(self, request: UpstreamRequest, media_type: str) -> _Opened:
        attempt = 1
        while True:
            try:
                return await self._open_once(request, media_type, attempt)
            except (UpstreamConnectionError, UpstreamStatusError, UpstreamTimeoutError) as error:
                wait = self._retry.decide(
                    attempt - 1, _outcome(error), self._time_left(request), max_retries=request.max_retries
                )
                if wait is None or not _sendable(request):
                    raise
                failure = error
            await self._sleep(wait)
            time_left = self._time_left(request)
            if time_left is not None and time_left <= 0:
                raise failure
            attempt += 1

    async def _open_once(self, request: UpstreamRequest, media_type: str, attempt: int) -> _Opened:
        try:
            response = await self._transport.handle_async_request(self._http_request(request))
        except TRANSPORT_FAILURES as failure:
            raise error_before_answer(failure, UpstreamContext(attempts=attempt)) from failure
        context = context_of(response, attempt)
        if not response.is_success:
            raise api_error(response.status_code, await _read_error(response), context)
        if not _is_plain(response, media_type):
            await response.aclose()
            raise UpstreamProtocolError(f"Upstream answered with what is not plain {media_type}.", context)
        return _Opened(response, context)

    def _http_request(self, request: UpstreamRequest) -> httpx.Request:
        for name, value in request.headers.items():
            if not is_header_value(value):
                raise InvalidRequestError([Violation(name, "must be visible ASCII characters")])
        time_left = self._time_left(request)
        headers = {**self._headers, **request.headers}
        if isinstance(request.body, StreamedBody) and request.body.length is not None:
            headers["content-length"] = str(request.body.length)
        return httpx.Request(
            request.method,
            self._url(request.path),
            headers=headers,
            content=request.body or None,
            extensions={"timeout": self._timeouts.within(inf if time_left is None else time_left + _DEADLINE_SLACK)},
        )

    def _time_left(self, request: UpstreamRequest) -> float | None:
        return None if request.deadline is None else request.deadline - self._clock()


def _of_bytes(request: UpstreamRequest) -> UpstreamRequest:
    return replace(request, headers={"accept": _BYTES, **request.headers})


def _sendable(request: UpstreamRequest) -> bool:
    return not isinstance(request.body, StreamedBody) or request.body.sendable


def _outcome(error: UpstreamError) -> Outcome:
    if isinstance(error, UpstreamStatusError):
        return Outcome(status=error.http_status, headers=error.context.headers)
    if isinstance(error, UpstreamTimeoutError):
        return Outcome(timeout=error.phase)
    return Outcome()


async def _read_error(response: httpx.Response) -> bytes:
    """Read the body of an error response; what does not come whole and soon leaves the status to speak alone."""
    async with open_body(response) as pieces:
        try:
            async with asyncio.timeout(_ERROR_BODY_SECONDS):
                return await read_body(pieces, _MAX_ERROR_BYTES) or b""
        except (TimeoutError, *TRANSPORT_FAILURES):
            return b""


def _is_plain(response: httpx.Response, media_type: str) -> bool:
    headers: Mapping[str, str] = response.headers
    sent = headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type in {sent, _ANYTHING} and headers.get("content-encoding", "identity").lower() == "identity"
