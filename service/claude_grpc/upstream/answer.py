"""An answer that upstream has begun, from its headers until it has ended, whole or not."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from claude_grpc.errors import UpstreamContext, UpstreamError, UpstreamProtocolError
from claude_grpc.telemetry.observer import AttemptEnded, AttemptObserver
from claude_grpc.upstream.attempts import Attempts
from claude_grpc.upstream.ends import why_it_ended
from claude_grpc.upstream.failures import TRANSPORT_FAILURES, error_within_answer
from claude_grpc.upstream.http import HttpResponse
from claude_grpc.upstream.outcome import outcome_of

__all__ = ["Answer", "read_body"]


class Answer:
    """A context manager around all that is done with an answer.

    To leave it before the body's end closes the connection at once. The policies are told of an ``UpstreamError`` that
    leaves it, and the observer of its end, whatever that is.

    Attributes:
        response: What came.
        context: What is known of the exchange.

    Args:
        response: What came.
        context: What is known of the exchange.
        attempts: The one that brought it, and those before.
        observer: Is told of its end.
    """

    def __init__(
        self, response: HttpResponse, context: UpstreamContext, attempts: Attempts, observer: AttemptObserver
    ) -> None:
        self.response = response
        self.context = context
        self._attempts = attempts
        self._observer = observer

    async def begin(self) -> None:
        """Wait until the answer has begun, which most do with the headers of the response."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            await self.response.aclose()
        finally:
            if isinstance(error, UpstreamError):
                self._attempts.failed(outcome_of(error))
            word = "" if error is None else why_it_ended(error, self._attempts)
            self._observer.attempt_ended(AttemptEnded(word))

    async def whole(self, limit: int) -> bytes:
        """Return the body; one of more than ``limit`` bytes is an ``UpstreamProtocolError``."""
        try:
            body = await read_body(self.response, limit)
        except TRANSPORT_FAILURES as failure:
            raise error_within_answer(failure, self.context) from failure
        if body is None:
            raise UpstreamProtocolError(f"Upstream's answer has over {limit} bytes.", self.context)
        return body


async def read_body(response: HttpResponse, limit: int) -> bytes | None:
    """Return the whole body, or None as soon as it has more than ``limit`` bytes."""
    read = []
    size = 0
    async for piece in response:
        size += len(piece)
        if size > limit:
            return None
        read.append(piece)
    return b"".join(read)
