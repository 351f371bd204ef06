"""How long a call may take upstream: as long as its caller waits, less what it takes to say so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from claude_grpc.errors import DeadlineExceededError
from claude_grpc.rpc.call import Call
from claude_grpc.rpc.options import Options

__all__ = ["DeadlinePolicy", "ended_at"]

_MOST_OF_MARGIN = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlinePolicy:
    """Makes deadlines.

    Attributes:
        default: Seconds for a call whose caller would wait for ever.
        margin: Seconds before the caller's deadline at which the gateway gives up, so that what it knows still gets to
            the caller; at most a tenth of the time that is left.
        clock: Monotonic; the one that the deadlines of calls are given in.
    """

    default: float = 3600.0
    margin: float = 0.25
    clock: Callable[[], float] = time.monotonic

    def upstream(self, call: Call, options: Options) -> float:
        """When the call's time is up."""
        if call.deadline is None or options.outlives_caller:
            return call.started + (self.default if options.total is None else options.total)
        margin = min(self.margin, max(call.deadline - self.clock(), 0.0) * _MOST_OF_MARGIN)
        callers = call.deadline - margin
        return callers if options.total is None else min(callers, call.started + options.total)


@asynccontextmanager
async def ended_at(deadline: float | None) -> AsyncIterator[None]:
    """Ends what a call does before upstream is asked when its time is up, with `DeadlineExceededError`.

    Args:
        deadline: In seconds of ``time.monotonic``; None for never.
    """
    try:
        async with asyncio.timeout(None if deadline is None else deadline - time.monotonic()) as limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise DeadlineExceededError("The call's time was up before all of the request had come.") from None
