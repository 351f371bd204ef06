"""A layer around a block of a test, which stands for the rest of the call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from claude_grpc.rpc.call import Call
from claude_grpc.rpc.front import Layer

__all__ = ["within"]


@asynccontextmanager
async def within(layer: Layer, call: Call) -> AsyncIterator[None]:
    async def proceed() -> None:
        entered.set_result(None)
        await left.wait()

    entered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    left = asyncio.Event()
    standing = asyncio.ensure_future(layer(call, proceed))
    try:
        await asyncio.wait([standing, entered], return_when=asyncio.FIRST_COMPLETED)
        if standing.done():
            await standing
        yield
    finally:
        if entered.done():
            left.set()
        else:
            standing.cancel()
        await asyncio.wait([standing])
