"""The one place that sends requests to the Claude API.

A request goes ``send``, ``stream``, ``lines`` or ``download`` → ``_until_committed`` → ``_attempt`` → the transport.
Attempts are made until an answer has begun, as ``Attempts`` decides; what comes after that is never asked for again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from math import inf
from typing import Final, Generic, TypeVar

from claude_grpc.errors import (
    BreakerOpenError,
    DeadlineExceededError,
    UpstreamContext,
    UpstreamError,
    UpstreamProtocolError,
)
from claude_grpc.telemetry.error_types import error_type
from claude_grpc.telemetry.observer import SILENT, AttemptEnded, AttemptObserver, AttemptStarted
from claude_grpc.upstream.answer import Answer, read_body
from claude_grpc.upstream.attempts import Attempts, Guard
from claude_grpc.upstream.breaker import BreakerPolicy, BreakerSnapshot
from claude_grpc.upstream.breakers import Breakers
from claude_grpc.upstream.budget import RetryBudget
from claude_grpc.upstream.ends import InTime, why_it_ended
from claude_grpc.upstream.exchange import Endpoint, Timeouts, UpstreamRequest, UpstreamResponse
from claude_grpc.upstream.failures import (
    TRANSPORT_FAILURES,
    api_error,
    context_of,
    error_before_answer,
)
from claude_grpc.upstream.head import RequestMaker
from claude_grpc.upstream.http import HttpResponse, HttpTransport
from claude_grpc.upstream.jsonl import JSONLDecoder
from claude_grpc.upstream.outcome import outcome_of
from claude_grpc.upstream.retry import RetryPolicy
from claude_grpc.upstream.sse import SSEDecoder
from claude_grpc.upstream.stream import ByteStream, DecodedStream, EventStream, LineStream, Undecoded
from claude_grpc.upstream.upload import StreamedBody

__all__ = ["UpstreamClient"]

AnswerT = TypeVar("AnswerT", bound=Answer)

_JSON: Final = "application/json"
_EVENT_STREAM: Final = "text/event-stream"
_BYTES: Final = "application/binary"
_ANYTHING: Final = ""
_FIRST_SUCCESS: Final = 200
_LAST_SUCCESS: Final = 299
_MEBIBYTE: Final = 1024 * 1024
_MAX_ERROR_BYTES: Final = 64 * 1024
_ERROR_BODY_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Reading(Generic[AnswerT]):
    """How an answer is read: what it must be, and what it becomes."""

    media_type: str
    answer: Callable[[HttpResponse, UpstreamContext, Attempts, AttemptObserver], AnswerT]


_WHOLE: Final = _Reading(_JSON, Answer)
_BYTES_AS_THEY_COME: Final = _Reading(_ANYTHING, lambda *answer: DecodedStream(Undecoded(), *answer))


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
        transport: HttpTransport,
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
        self._events = _Reading(
            _EVENT_STREAM, lambda *answer: EventStream(SSEDecoder(max_event_bytes=max_event_bytes), *answer)
        )
        self._lines = _Reading(
            _ANYTHING, lambda *answer: DecodedStream(JSONLDecoder(max_line_bytes=max_event_bytes), *answer)
        )
        self._sleep = sleep
        headers = {
            "accept": _JSON,
            "accept-encoding": "identity",
            "content-type": _JSON,
            "user-agent": user_agent,
            **endpoint.headers(),
        }
        self._requests = RequestMaker(endpoint.base_url, headers, self._timeouts)

    async def send(self, request: UpstreamRequest, observer: AttemptObserver = SILENT) -> UpstreamResponse:
        """Return the whole answer, which is JSON."""
        attempts = self._attempts(request)
        async with InTime(attempts), await self._until_committed(request, _WHOLE, attempts, observer) as answer:
            body = await answer.whole(self._max_response_bytes)
        response = answer.response
        return UpstreamResponse(status=response.status, headers=response.headers, body=body, context=answer.context)

    async def stream(self, request: UpstreamRequest, observer: AttemptObserver = SILENT) -> EventStream:
        """Open a stream, up to its first event. It is to be entered at once: ``async with await client.stream(…)``."""
        return await self._open(request, self._events, observer)

    async def lines(self, request: UpstreamRequest, observer: AttemptObserver = SILENT) -> LineStream:
        """Open an answer of JSON lines; all else is as with ``stream``."""
        return await self._open(_of_bytes(request), self._lines, observer)

    async def download(self, request: UpstreamRequest, observer: AttemptObserver = SILENT) -> ByteStream:
        """Open an answer of bytes, of whatever kind; all else is as with ``stream``."""
        return await self._open(_of_bytes(request), _BYTES_AS_THEY_COME, observer)

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

    async def _open(self, request: UpstreamRequest, reading: _Reading[AnswerT], observer: AttemptObserver) -> AnswerT:
        attempts = self._attempts(request)
        async with InTime(attempts):
            return await self._until_committed(request, reading, attempts, observer)

    async def _until_committed(
        self, request: UpstreamRequest, reading: _Reading[AnswerT], attempts: Attempts, observer: AttemptObserver
    ) -> AnswerT:
        failure: UpstreamError | None = None
        try:
            while True:
                try:
                    attempts.begin()
                except (BreakerOpenError, DeadlineExceededError) as refusal:
                    # What upstream said last tells more than why it is not asked again.
                    raise failure or refusal from None
                try:
                    answer = await self._attempt(request, reading, attempts, observer)
                except UpstreamError as error:
                    wait = attempts.failed(
                        outcome_of(error, hurried=self._is_hurried(request)), repeatable=_is_repeatable(request)
                    )
                    observer.attempt_ended(AttemptEnded(error_type(error), wait, attempts.held_back))
                    if wait is None:
                        raise
                    failure = error
                except BaseException as error:
                    attempts.dropped()
                    observer.attempt_ended(AttemptEnded(why_it_ended(error, attempts)))
                    raise
                else:
                    attempts.committed()
                    return answer
                await self._sleep(wait)
        finally:
            # Its traceback holds this frame, and with it the body, until the garbage collector comes by.
            failure = None

    async def _attempt(
        self, request: UpstreamRequest, reading: _Reading[AnswerT], attempts: Attempts, observer: AttemptObserver
    ) -> AnswerT:
        response, context = await self._exchange(request, reading.media_type, attempts.context, observer)
        try:
            answer = reading.answer(response, context, attempts, observer)
            await answer.begin()
        except BaseException:
            await response.aclose()
            raise
        return answer

    async def _exchange(
        self, request: UpstreamRequest, media_type: str, asked: UpstreamContext, observer: AttemptObserver
    ) -> tuple[HttpResponse, UpstreamContext]:
        url = self._requests.url(request)
        told = observer.attempt_started(AttemptStarted(asked.attempts, request.method, url))
        made = self._requests.make(request, told, observer.attempt_sent)
        try:
            response = await self._transport.send(made)
        except TRANSPORT_FAILURES as failure:
            raise error_before_answer(failure, asked) from failure
        headers = response.headers
        context = context_of(headers, asked)
        observer.attempt_answered(response.status, context.request_id)
        if not _FIRST_SUCCESS <= response.status <= _LAST_SUCCESS:
            raise api_error(response.status, await _read_error(response), context)
        if not _is_plain(headers, media_type):
            await response.aclose()
            raise UpstreamProtocolError(f"Upstream answered with what is not plain {media_type}.", context)
        return response, context

    def _is_hurried(self, request: UpstreamRequest) -> bool:
        return request.timeouts.get("connect", inf) < self._timeouts["connect"]


def _of_bytes(request: UpstreamRequest) -> UpstreamRequest:
    return replace(request, headers={"accept": _BYTES, **request.headers})


def _is_repeatable(request: UpstreamRequest) -> bool:
    return not isinstance(request.body, StreamedBody) or request.body.sendable


async def _read_error(response: HttpResponse) -> bytes:
    """Read the body of an error response; what does not come whole and soon leaves the status to speak alone."""
    try:
        async with asyncio.timeout(_ERROR_BODY_SECONDS):
            return await read_body(response, _MAX_ERROR_BYTES) or b""
    except (TimeoutError, *TRANSPORT_FAILURES):
        return b""
    finally:
        await response.aclose()


def _is_plain(headers: Mapping[str, str], media_type: str) -> bool:
    sent = headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type in {sent, _ANYTHING} and headers.get("content-encoding", "identity").lower() == "identity"
