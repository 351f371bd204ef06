"""A gateway that tells how it is: run as a process, it answers each line on its standard input with its figures."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import sys

import uvloop

from claude_grpc.__main__ import _give_back_large_blocks
from claude_grpc.config import load_settings
from claude_grpc.server import open_gateway
from claude_grpc.telemetry.logs import configure_logging


async def main() -> None:
    """Serve until standard input ends."""
    settings = load_settings()
    configure_logging("warning", "text")
    _give_back_large_blocks()
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with open_gateway(settings) as gateway:
        gc.freeze()
        print(gateway.target, flush=True)
        while await lines.readline():
            # What is measured is what is held, not what the allocator keeps for later.
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)
            print(json.dumps({"tasks": len(asyncio.all_tasks()), "blocks": sys.getallocatedblocks()}), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
