"""The floor: a bare ``grpc.aio`` server that sends what a gateway would send, and does nothing for it.

Bytes in, bytes out, on uvloop: what it costs is grpcio's own price, which no gateway on grpcio in Python can undercut.
It reads from the prompt how the answer is to come, as the fake upstream does, and stamps its deltas like that one.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import uvloop

from claude_grpc.v1 import content_pb2, messages_pb2

_STAMP = "@0000000000000000000.000000 "
_PLAN = re.compile(rb"\[\[bench rate=([0-9.]+) events=([0-9]+)\]\]")


def _event(**event: Any) -> bytes:
    [kind] = event
    return messages_pb2.StreamMessageResponse(type=kind, **event).SerializeToString()


_START = _event(message_start=messages_pb2.MessageStart())
_STOP = _event(message_stop=messages_pb2.MessageStop())
_BEFORE, _AFTER = _event(
    content_block_delta=messages_pb2.ContentBlockDelta(
        index=1,
        delta=messages_pb2.BlockDelta(type="text_delta", text_delta=messages_pb2.TextDelta(text=_STAMP)),
    )
).split(_STAMP.encode())
_WHOLE = messages_pb2.CreateMessageResponse(
    message=messages_pb2.AssistantMessage(
        content=[content_pb2.ContentBlock(type="text", text=content_pb2.TextBlock(text="Because air scatters light."))]
    )
).SerializeToString()


async def _stream(request: bytes, _context: object) -> AsyncIterator[bytes]:
    found = _PLAN.search(request)
    rate, events = (float(found[1]), int(found[2])) if found else (1000.0, 20)
    yield _START
    if not rate:
        await asyncio.Event().wait()
    clock = asyncio.get_running_loop().time
    due = clock() + random.random() / rate  # noqa: S311 # so that streams do not go in step
    sent = 0
    while not events or sent < events:
        await asyncio.sleep(due - clock())
        due += 1 / rate
        yield _BEFORE + b"@%019d.%06d " % (time.time_ns(), sent % 1_000_000) + _AFTER
        sent += 1
    yield _STOP


async def _create(_request: bytes, _context: object) -> bytes:
    return _WHOLE


async def _serve() -> None:
    # Raw bytes both ways: without serializers grpc hands them through.
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "StreamMessage": grpc.unary_stream_rpc_method_handler(_stream),
        "CreateMessage": grpc.unary_unary_rpc_method_handler(_create),
    }
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    service = messages_pb2.DESCRIPTOR.services_by_name["MessagesService"].full_name
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"The floor is at 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(_serve())
