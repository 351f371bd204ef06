"""How attempts and answers end, as the policies and telemetry are told of it."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final

from claude_grpc.errors import DeadlineExceededError
from claude_grpc.telemetry.error_types import DEADLINE_EXCEEDED, error_type
from claude_grpc.upstream.attempts import Attempts

__all__ = ["InTime", "why_it_ended"]

# Timers of uvloop have whole milliseconds, and may go off before their time.
_EARLY_SECONDS: Final = 0.005


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


def why_it_ended(error: BaseException, attempts: Attempts) -> str:
    """The error's word; what `InTime` cancels is not cancelled by the caller."""
    left = attempts.time_left
    late = isinstance(error, asyncio.CancelledError) and left is not None and left <= _EARLY_SECONDS
    return DEADLINE_EXCEEDED if late else error_type(error)
