"""How attempts and answers end, as the policies and telemetry are told of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from claude_grpc.errors import DeadlineExceededError, UpstreamContext, UpstreamError, UpstreamStatusError
from claude_grpc.telemetry.error_types import DEADLINE_EXCEEDED, error_type
from claude_grpc.telemetry.observer import AttemptEnded, AttemptObserver
from claude_grpc.upstream.attempts import Attempts
from claude_grpc.upstream.outcome import outcome_of

__all__ = ["dropped_attempt", "failed_attempt", "in_time", "noting_failure", "observing_end"]

_OK: Final = 200


@asynccontextmanager
async def in_time(attempts: Attempts) -> AsyncIterator[None]:
    """Ends what is within at the call's deadline, with `DeadlineExceededError`."""
    try:
        async with asyncio.timeout(attempts.time_left) as limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise DeadlineExceededError("The call's time was up before upstream had answered.", attempts.context) from None


@contextmanager
def noting_failure(attempts: Attempts) -> Iterator[None]:
    """Tells the policies if an answer that has begun fails."""
    try:
        yield
    except UpstreamError as error:
        attempts.failed(outcome_of(error))
        raise


@contextmanager
def observing_end(observer: AttemptObserver, context: UpstreamContext, attempts: Attempts) -> Iterator[None]:
    """Tells the observer when and how an answer that has begun has ended."""
    try:
        yield
    except BaseException as error:
        observer.attempt_ended(AttemptEnded(_OK, context.request_id, _why(error, attempts)))
        raise
    observer.attempt_ended(AttemptEnded(_OK, context.request_id))


def failed_attempt(error: UpstreamError, *, wait: float | None, held_back: str) -> AttemptEnded:
    """What the observer is told of an attempt that failed; ``wait`` in seconds, None if no other follows."""
    status = error.http_status if isinstance(error, UpstreamStatusError) else None
    return AttemptEnded(status, error.context.request_id, error_type(error), wait, held_back)


def dropped_attempt(error: BaseException, attempts: Attempts) -> AttemptEnded:
    """What the observer is told of an attempt that was given up."""
    return AttemptEnded(error=_why(error, attempts))


def _why(error: BaseException, attempts: Attempts) -> str:
    """The error's word; what `in_time` cancels is not cancelled by the caller."""
    left = attempts.time_left
    late = isinstance(error, asyncio.CancelledError) and left is not None and left <= 0
    return DEADLINE_EXCEEDED if late else error_type(error)
