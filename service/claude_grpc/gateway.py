"""A gateway that serves, and how it is taken down.

A drain goes: health says NOT_SERVING and every watch ends; a delay, for balancers to notice; new calls are refused
while running ones end, those that watch a batch at once; what runs too long is ended; the connections upstream are
closed. A second signal goes straight to the ends.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import grpc

from claude_grpc.rpc.abandoned import AbandonedCalls
from claude_grpc.rpc.admission import Admission
from claude_grpc.rpc.drain import Drain, Phase
from claude_grpc.rpc.front import Front
from claude_grpc.rpc.health import Health
from claude_grpc.rpc.watches import Watches

__all__ = ["Gateway"]

_log = logging.getLogger(__name__)

# For the last words to calls that are ended; and longer than any grace, which is ours to measure.
_LAST_SECONDS = 2.0
_LONG_SECONDS = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A gateway that serves.

    Attributes:
        target: Its address, ``HOST:PORT``.
        server: Takes the calls.
        front: Knows those that run.
        admission: Lets them in.
        abandoned: Those that go on without their callers.
        watches: Those that watch a batch.
        health: What is told of it all.
        phases: Of the drain.
    """

    target: str
    server: grpc.aio.Server
    front: Front
    admission: Admission
    abandoned: AbandonedCalls
    watches: Watches
    health: Health
    phases: Drain

    async def drain(self, hurry: asyncio.Event | None = None) -> None:
        """Stop taking calls, and let those that run come to their end, until ``hurry`` is set."""
        hurry = hurry or asyncio.Event()
        self.phases.signal(time.monotonic())
        self.health.drain()
        _log.info("Draining: health says NOT_SERVING")
        await self._pass(Phase.LEAVING, hurry, _never())
        _log.info("Draining: no more calls are taken")
        self.admission.close()
        stopping = asyncio.create_task(self.server.stop(_LONG_SECONDS))
        # Not before the server tells its callers to go elsewhere, or they would come back here.
        self.watches.drain()
        await self._pass(Phase.FINISHING, hurry, self._idle())
        self.front.calls.end()
        await self.abandoned.end()
        await self.server.stop(_LAST_SECONDS)
        await stopping
        _log.info("Drained")

    async def _pass(self, phase: Phase, hurry: asyncio.Event, idle: Coroutine[Any, Any, None]) -> None:
        """Wait for the end of a phase: its time is up, somebody hurries, or nothing runs any more."""
        hurried, rested = asyncio.create_task(hurry.wait()), asyncio.create_task(idle)
        while self.phases.phase is phase:
            left = max(self.phases.until - time.monotonic(), 0)
            await asyncio.wait([hurried, rested], timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if hurried.done():
                self.phases.signal(time.monotonic())
            elif rested.done():
                self.phases.idle()
            self.phases.tick(time.monotonic())
        hurried.cancel()
        rested.cancel()

    async def _idle(self) -> None:
        await self.front.calls.idle()
        await self.abandoned.idle()


async def _never() -> None:
    await asyncio.Event().wait()
