"""The one place that sends requests to the Claude API.

A request goes ``send``, ``stream``, ``lines`` or ``download`` → ``_until_committed`` → ``_exchange`` → the transport.
Attempts are made until an answer has begun, as ``Attempts`` decides; what comes after that is never asked for again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from math import inf
from typing import Any, Final, Generic, NamedTuple, TypeVar

import httpx

from claude_grpc.errors import (
    BreakerOpenError,
    DeadlineExceededError,
    InvalidRequestError,
    UpstreamContext,
    UpstreamError,
    UpstreamProtocolError,
    Violation,
)
from claude_grpc.telemetry.observer import AttemptStarted
from claude_grpc.upstream.attempts import Attempts, Guard
from claude_grpc.upstream.body import open_body, read_body, watched_body
from claude_grpc.upstream.breaker import BreakerPolicy, BreakerSnapshot
from claude_grpc.upstream.breakers import Breakers
from claude_grpc.upstream.budget import RetryBudget
from claude_grpc.upstream.ends import dropped_attempt, failed_attempt, in_time, noting_failure, observing_end
from claude_grpc.upstream.exchange import Endpoint, Timeouts, UpstreamRequest, UpstreamResponse, is_header_value
from claude_grpc.upstream.failures import (
    TRANSPORT_FAILURES,
    api_error,
    context_of,
    error_before_answer,
    error_within_answer,
)
from claude_grpc.upstream.jsonl import JSONLDecoder
from claude_grpc.upstream.limit import TimeLimit
from claude_grpc.upstream.outcome import outcome_of
from claude_grpc.upstream.retry import RetryPolicy
from claude_grpc.upstream.sse import SSEDecoder
from claude_grpc.upstream.stream import ByteStream, DecodedStream, EventStream, LineStream, Undecoded
from claude_grpc.upstream.upload import StreamedBody

__all__ = ["UpstreamClient"]

T = TypeVar("T")
StreamT = TypeVar("StreamT", bound=DecodedStream[Any])

_JSON: Final = "application/json"
_EVENT_STREAM: Final = "text/event-stream"
_BYTES: Final = "application/binary"
_ANYTHING: Final = ""
_MEBIBYTE: Final = 1024 * 1024
_MAX_ERROR_BYTES: Final = 64 * 1024
_ERROR_BODY_SECONDS: Final = 5.0


class _Answered(NamedTuple):
    response: httpx.Response
    context: UpstreamContext


@dataclass(frozen=True, slots=True)
class _Reading(Generic[StreamT]):
    """How a streamed answer is read: what it must be, and what it becomes by which decoder."""

    media_type: str
    stream: Callable[..., StreamT]
    decoder: Callable[[], object]


class UpstreamClient:
    """Calls one Claude API over one transport, which it owns.

    Raises the subclasses of ``UpstreamError``, each with its context, and ``InvalidRequestError`` for a header that
    cannot be sent. Cancelling a call closes its connection at once, in every phase.

    Args:
        transport: From ``make_transport``.
        endpoint: Where to send, and with which credentials.
        timeouts: For each attempt.
        retry: When a failed attempt is followed by another.
        budget: Of retries, for all requests together; without limit by default.
        breaker: When a model is not asked at all; never by default.
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
        budget: RetryBudget | None = None,
        breaker: BreakerPolicy | None = None,
        user_agent: str = "claude-grpc",
        max_response_bytes: int = 256 * _MEBIBYTE,
        max_event_bytes: int = 64 * _MEBIBYTE,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._timeouts: Mapping[str, float] = asdict(timeouts or Timeouts())
        self._guard = Guard(
            retry or RetryPolicy(),
            budget or RetryBudget(tokens=inf),
            Breakers(breaker or BreakerPolicy(failures=inf), clock=clock),
            clock,
        )
        self._max_response_bytes = max_response_bytes
        self._max_event_bytes = max_event_bytes
        self._sleep = sleep
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
        attempts = self._attempts(request)
        async with in_time(attempts):
            response, context = await self._until_committed(
                attempts, request, lambda asked: self._exchange(request, _JSON, asked)
            )
            with observing_end(request.observer, context, attempts):
                with noting_failure(attempts):
                    async with open_body(response) as pieces:
                        try:
                            body = await read_body(pieces, self._max_response_bytes)
                        except TRANSPORT_FAILURES as failure:
                            raise error_within_answer(failure, context) from failure
                if body is None:
                    message = f"Upstream's answer has over {self._max_response_bytes} bytes."
                    raise UpstreamProtocolError(message, context)
        return UpstreamResponse(status=response.status_code, headers=response.headers, body=body, context=context)

    def stream(self, request: UpstreamRequest) -> AbstractAsyncContextManager[EventStream]:
        """Open a stream, up to its first event; to leave the context before its end closes the connection at once.

        An ``UpstreamError`` that leaves the context counts as a failure of upstream.
        """
        decoder = partial(SSEDecoder, max_event_bytes=self._max_event_bytes)
        return self._opened(request, _Reading(_EVENT_STREAM, EventStream, decoder))

    def lines(self, request: UpstreamRequest) -> AbstractAsyncContextManager[LineStream]:
        """Open an answer of JSON lines; all else is as with ``stream``."""
        decoder = partial(JSONLDecoder, max_line_bytes=self._max_event_bytes)
        return self._opened(_of_bytes(request), _Reading(_ANYTHING, LineStream, decoder))

    def download(self, request: UpstreamRequest) -> AbstractAsyncContextManager[ByteStream]:
        """Open an answer of bytes, of whatever kind; all else is as with ``stream``."""
        return self._opened(_of_bytes(request), _Reading(_ANYTHING, ByteStream, Undecoded))

    def breakers(self) -> list[BreakerSnapshot]:
        """Return the models that failed of late, by name, and how calls for them fare."""
        return self._guard.breakers.snapshots()

    @property
    def retry_budget_left(self) -> float:
        """How full the retry budget is, from 0 to 1."""
        return self._guard.budget.left

    async def aclose(self) -> None:
        """Close the transport with all its connections."""
        await self._transport.aclose()

    def _attempts(self, request: UpstreamRequest) -> Attempts:
        return Attempts(
            self._guard,
            earlier=request.earlier,
            model=request.model,
            deadline=request.deadline,
            max_retries=request.max_retries,
        )

    @asynccontextmanager
    async def _opened(self, request: UpstreamRequest, reading: _Reading[StreamT]) -> AsyncIterator[StreamT]:
        attempts = self._attempts(request)
        async with AsyncExitStack() as stack:
            stream = await self._open(request, reading, attempts, stack)
            observed = observing_end(request.observer, stream.context, attempts)
            del request  # its body is no longer needed, and the stream may be long
            with observed, noting_failure(attempts):
                yield stream

    async def _open(
        self, request: UpstreamRequest, reading: _Reading[StreamT], attempts: Attempts, stack: AsyncExitStack
    ) -> StreamT:
        async def attempt(asked: UpstreamContext) -> StreamT:
            return await stack.enter_async_context(self._begun(request, reading, asked, attempts))

        async with in_time(attempts):
            return await self._until_committed(attempts, request, attempt)

    async def _until_committed(
        self, attempts: Attempts, request: UpstreamRequest, attempt: Callable[[UpstreamContext], Awaitable[T]]
    ) -> T:
        failure: UpstreamError | None = None
        try:
            while True:
                try:
                    attempts.begin()
                except (BreakerOpenError, DeadlineExceededError) as refusal:
                    # What upstream said last tells more than why it is not asked again.
                    raise failure or refusal from None
                try:
                    answer = await attempt(attempts.context)
                except UpstreamError as error:
                    wait = attempts.failed(
                        outcome_of(error, hurried=self._is_hurried(request)), repeatable=_is_repeatable(request)
                    )
                    request.observer.attempt_ended(failed_attempt(error, wait=wait, held_back=attempts.held_back))
                    if wait is None:
                        raise
                    failure = error
                except BaseException as error:
                    attempts.dropped()
                    request.observer.attempt_ended(dropped_attempt(error, attempts))
                    raise
                else:
                    attempts.committed()
                    return answer
                await self._sleep(wait)
        finally:
            # Its traceback holds this frame, and with it the body, until the garbage collector comes by.
            failure = None

    @asynccontextmanager
    async def _begun(
        self, request: UpstreamRequest, reading: _Reading[StreamT], asked: UpstreamContext, attempts: Attempts
    ) -> AsyncIterator[StreamT]:
        response, context = await self._exchange(request, reading.media_type, asked)
        del request
        limit = TimeLimit()
        async with open_body(response) as pieces:
            stream = reading.stream(
                pieces, context, reading.decoder(), limit, status=response.status_code, headers=response.headers
            )
            await stream.begin()
            with limit.running(attempts.time_left):
                yield stream

    async def _exchange(self, request: UpstreamRequest, media_type: str, asked: UpstreamContext) -> _Answered:
        path = request.path.partition("?")[0]
        headers = request.observer.attempt_started(AttemptStarted(asked.attempts, request.method, path))
        try:
            response = await self._transport.handle_async_request(self._http_request(request, headers))
        except TRANSPORT_FAILURES as failure:
            raise error_before_answer(failure, asked) from failure
        context = context_of(response, asked)
        if not response.is_success:
            raise api_error(response.status_code, await _read_error(response), context)
        if not _is_plain(response, media_type):
            await response.aclose()
            raise UpstreamProtocolError(f"Upstream answered with what is not plain {media_type}.", context)
        return _Answered(response, context)

    def _http_request(self, request: UpstreamRequest, told: Mapping[str, str]) -> httpx.Request:
        for name, value in request.headers.items():
            if not is_header_value(value):
                raise InvalidRequestError([Violation(name, "must be visible ASCII characters")])
        headers = {**self._headers, **told, **request.headers}
        if isinstance(request.body, StreamedBody) and request.body.length is not None:
            headers["content-length"] = str(request.body.length)
        made = httpx.Request(
            request.method,
            self._url(request.path),
            headers=headers,
            content=request.body or None,
            extensions={"timeout": {**self._timeouts, **request.timeouts}},
        )
        if request.body:
            made.stream = watched_body(request.body, request.observer.attempt_sent)
        return made

    def _is_hurried(self, request: UpstreamRequest) -> bool:
        return request.timeouts.get("connect", inf) < self._timeouts["connect"]


def _of_bytes(request: UpstreamRequest) -> UpstreamRequest:
    return replace(request, headers={"accept": _BYTES, **request.headers})


def _is_repeatable(request: UpstreamRequest) -> bool:
    return not isinstance(request.body, StreamedBody) or request.body.sendable


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
