"""Callers that open streams, read one event of each and then nothing: run as a process, which its parent then stops."""

from __future__ import annotations

import asyncio
import sys

import grpc

from claude_grpc.v1.messages_pb2_grpc import MessagesServiceStub
from support.stack import stream

# A caller has a hundred streams on a connection, as grpc clients do. What it does not read shall not be long in coming.
_STREAMS = 100
_OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)]


async def main(target: str, count: int) -> None:
    """Open the streams, say so, and keep them."""
    channels = [grpc.aio.insecure_channel(target, options=_OPTIONS) for _ in range(-(-count // _STREAMS))]
    calls = []
    for number in range(count):
        call = MessagesServiceStub(channels[number // _STREAMS]).StreamMessage(stream())  # type: ignore[no-untyped-call]
        calls.append(call)
        await call.read()
    print("reading", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
