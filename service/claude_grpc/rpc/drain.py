"""How a gateway stops: the phases of a drain, and the calls that run meanwhile.

`Drain` is the machine, without a clock of its own; `RunningCalls` is what it waits for and finally ends. Who turns
health off, stops the server and closes the rest is `claude_grpc.server`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from enum import Enum, auto

from claude_grpc.errors import DrainingError
from claude_grpc.rpc.call import Call

__all__ = ["Drain", "Phase", "RunningCalls"]


class Phase(Enum):
    """How far a drain has come."""

    SERVING = auto()
    LEAVING = auto()
    """Health says NOT_SERVING; calls are still taken, for balancers are slow to notice."""
    FINISHING = auto()
    """No call is taken; those that run may come to their end."""
    ENDING = auto()
    """What still runs is ended."""


class Drain:
    """Which phase it is, by what has happened; times are seconds on any clock.

    Args:
        delay: How long calls are still taken.
        grace: How long calls may then still run.

    Attributes:
        phase: The phase.
        until: When it ends by itself; infinity if it does not.
    """

    def __init__(self, *, delay: float, grace: float) -> None:
        self.phase = Phase.SERVING
        self.until = math.inf
        self._delay = delay
        self._grace = grace

    def signal(self, now: float) -> None:
        """The process was asked to stop; asked again, it does not wait any longer."""
        if self.phase is Phase.SERVING:
            self._enter(Phase.LEAVING, now + self._delay)
            self.tick(now)
        else:
            self._enter(Phase.ENDING, math.inf)

    def tick(self, now: float) -> None:
        """Time has passed."""
        if now < self.until:
            return
        if self.phase is Phase.LEAVING:
            self._enter(Phase.FINISHING, self.until + self._grace)
            self.tick(now)
        elif self.phase is Phase.FINISHING:
            self._enter(Phase.ENDING, math.inf)

    def idle(self) -> None:
        """Nothing runs any more."""
        if self.phase is Phase.FINISHING:
            self._enter(Phase.ENDING, math.inf)

    def _enter(self, phase: Phase, until: float) -> None:
        self.phase, self.until = phase, until


class RunningCalls:
    """The calls that run, so that a drain can wait for them, and end them with a status that says why."""

    def __init__(self) -> None:
        self._scopes: set[asyncio.Timeout] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._ended = False

    async def layer(self, call: Call, proceed: Callable[[], Awaitable[None]]) -> None:
        """Stand around a call; raise `DrainingError` when calls are ended."""
        if self._ended:
            raise DrainingError("The gateway is being stopped.", retry_after=0.1)
        scope = asyncio.timeout(None)
        self._scopes.add(scope)
        self._idle.clear()
        try:
            async with scope:
                await proceed()
        except TimeoutError:
            if not scope.expired():
                raise
            # What was asked for may have been billed, whether or not a part of it got through.
            message = "The gateway was stopped before the call had ended."
            raise DrainingError(message, retry_after=None, partial=call.partial) from None
        finally:
            self._scopes.discard(scope)
            if not self._scopes:
                self._idle.set()

    async def idle(self) -> None:
        """Wait until no call runs."""
        await self._idle.wait()

    def end(self) -> None:
        """End those that run, and refuse new ones."""
        self._ended = True
        for scope in self._scopes:
            scope.reschedule(0)
