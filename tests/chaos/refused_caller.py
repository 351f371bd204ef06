"""A caller who asks at a steady pace, run as a process of its own, so that a test's own loop adds nothing to its times.

Prints a line when it has begun; at the next line on its standard input it stops and prints, as JSON, how many calls
were served, and the milliseconds that each refusal took: as it saw it, and as the gateway says.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys

import grpc

from chaos.process import stub
from support.stack import create

PAUSE_SECONDS = 0.02


async def main(target: str) -> None:
    """Ask until told to stop."""
    loop = asyncio.get_running_loop()
    refused: list[tuple[float, float]] = []
    asked: list[asyncio.Task[bool]] = []

    async def ask() -> bool:
        began = loop.time()
        call = stub(channel).CreateMessage(create(), timeout=60)
        code = await call.code()
        seconds = loop.time() - began
        if code is not grpc.StatusCode.OK:
            timing = dict(await call.trailing_metadata())["claude-grpc-timing"]
            refused.append((seconds * 1000, int(timing.rpartition("=")[2]) / 1000))
        return code is grpc.StatusCode.OK

    async with grpc.aio.insecure_channel(target) as channel:
        await channel.channel_ready()
        stopped = loop.run_in_executor(None, sys.stdin.readline)
        gc.freeze()  # or its own garbage collections would be in the times
        print(flush=True)
        while not stopped.done():
            asked.append(asyncio.create_task(ask()))
            await asyncio.sleep(PAUSE_SECONDS)
        served = sum(await asyncio.gather(*asked))
    print(json.dumps([served, refused]), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
