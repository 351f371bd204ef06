"""How attempts and answers end, as the policies and telemetry are told of it."""

from __future__ import annotations

import asyncio
from types import TracebackType

from claude_grpc.errors import DeadlineExceededError, UpstreamError, UpstreamStatusError
from claude_grpc.telemetry.error_types import DEADLINE_EXCEEDED, error_type
from claude_grpc.telemetry.observer import AttemptEnded
from claude_grpc.upstream.attempts import Attempts

__all__ = ["InTime", "dropped_attempt", "failed_attempt", "why_it_ended"]


class InTime:
    """Ends what is within at the call's deadline, with `DeadlineExceededError`."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self._timeout = asyncio.timeout(attempts.time_left)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            message = "The call's time was up before upstream had answered."
            raise DeadlineExceededError(message, self._attempts.context) from None


def failed_attempt(error: UpstreamError, *, wait: float | None, held_back: str) -> AttemptEnded:
    """What the observer is told of an attempt that failed; ``wait`` in seconds, None if no other follows."""
    status = error.http_status if isinstance(error, UpstreamStatusError) else None
    return AttemptEnded(status, error.context.request_id, error_type(error), wait, held_back)


def dropped_attempt(error: BaseException, attempts: Attempts) -> AttemptEnded:
    """What the observer is told of an attempt that was given up."""
    return AttemptEnded(error=why_it_ended(error, attempts))


def why_it_ended(error: BaseException, attempts: Attempts) -> str:
    """The error's word; what `InTime` cancels is not cancelled by the caller."""
    left = attempts.time_left
    late = isinstance(error, asyncio.CancelledError) and left is not None and left <= 0
    return DEADLINE_EXCEEDED if late else error_type(error)
