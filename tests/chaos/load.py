"""Calls that come at their own pace, whatever becomes of those before: as callers do, who do not know of each other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import grpc

from chaos.process import stub
from support.stack import Ended, create, drain

__all__ = ["Outcome", "ask", "offer"]


@dataclass(frozen=True)
class Outcome:
    """A call: when it began, after the first; how long it took; how it ended."""

    began: float
    seconds: float
    ended: Ended

    @property
    def ok(self) -> bool:
        """Whether it was answered."""
        return self.ended.code is grpc.StatusCode.OK

    @property
    def attempts(self) -> int:
        """Attempts that were made for it upstream."""
        return int(self.ended.trailers.get("claude-grpc-attempts", "0"))


async def ask(channel: grpc.aio.Channel) -> Ended:
    """A small call."""
    return await drain(stub(channel).CreateMessage(create(), timeout=60))


async def offer(rate: float, seconds: float, call: Callable[[], Awaitable[Ended]]) -> list[Outcome]:
    """So many calls a second for so long, and how each went."""
    loop = asyncio.get_running_loop()
    start = loop.time()

    async def one(due: float) -> Outcome:
        await asyncio.sleep(due - (loop.time() - start))
        began = loop.time()
        ended = await call()
        return Outcome(began - start, loop.time() - began, ended)

    return await asyncio.gather(*(one(number / rate) for number in range(round(rate * seconds))))
