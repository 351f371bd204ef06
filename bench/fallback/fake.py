"""The fake upstream where Go is not installed: the same answers, and the same plan in the prompt, for smaller loads."""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from bench.fallback.stamp import stamp

_PLAN = re.compile(rb"\[\[bench rate=([0-9.e+]+) events=([0-9]+)\]\]")
_THINKING_DELTAS = 4
_HEADERS = "request-id: req_bench\r\nanthropic-ratelimit-requests-remaining: 1000\r\n"
_USAGE = {
    "input_tokens": 12,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": 34,
}
_MESSAGE = {"id": "msg_bench", "type": "message", "role": "assistant", "model": "claude-opus-5-5"}
_CONTENT = [
    {"type": "thinking", "thinking": "Light is scattered, blue most of all.", "signature": "c2lnbmF0dXJl"},
    {"type": "text", "text": "Because air scatters short waves more than long ones."},
]
_WHOLE = json.dumps(
    {**_MESSAGE, "content": _CONTENT, "stop_reason": "end_turn", "stop_sequence": None, "usage": _USAGE}
)


def _event(kind: str, **members: Any) -> bytes:
    data = json.dumps({"type": kind, **members}, separators=(",", ":"))
    return f"event: {kind}\ndata: {data}\n\n".encode()


def _start(index: int, **block: str) -> bytes:
    return _event("content_block_start", index=index, content_block=block)


def _delta(index: int, kind: str, key: str, text: str) -> bytes:
    return _event("content_block_delta", index=index, delta={"type": f"{kind}_delta", key: text})


_BEGIN = _event(
    "message_start", message={**_MESSAGE, "content": [], "stop_reason": None, "stop_sequence": None, "usage": _USAGE}
) + _start(0, type="thinking", thinking="", signature="")
_TURN = (
    _delta(0, "signature", "signature", "c2lnbmF0dXJl")
    + _event("content_block_stop", index=0)
    + _start(1, type="text", text="")
)
_END = (
    _event("content_block_stop", index=1)
    + _event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 34})
    + _event("message_stop")
)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            size = re.search(rb"content-length: *([0-9]+)", head, re.IGNORECASE)
            body = await reader.readexactly(int(size[1]) if size else 0)
            await _answer(head.split(b" ")[1], body, writer)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass  # the caller has left, which is its right
    finally:
        writer.close()


async def _answer(path: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
    if path == b"/v1/messages" and re.search(rb'"stream": ?true', body):
        writer.write(f"HTTP/1.1 200 OK\r\n{_HEADERS}content-type: text/event-stream\r\n".encode())
        writer.write(b"transfer-encoding: chunked\r\n\r\n")
        await _stream(body, writer, writer.drain)
        return
    answer = _WHOLE if path == b"/v1/messages" else "{}"
    head = f"HTTP/1.1 200 OK\r\n{_HEADERS}content-type: application/json\r\ncontent-length: {len(answer)}\r\n\r\n"
    writer.write((head + answer).encode())
    await writer.drain()


async def _stream(body: bytes, writer: asyncio.StreamWriter, drain: Callable[[], Awaitable[None]]) -> None:
    def send(data: bytes) -> None:
        writer.write(b"%x\r\n%s\r\n" % (len(data), data))

    found = _PLAN.search(body)
    rate, events = (float(found[1]), int(found[2])) if found else (1000.0, 20)
    send(_BEGIN)
    if not rate:
        await asyncio.Event().wait()
    clock = asyncio.get_running_loop().time
    due = clock() + random.random() / rate  # noqa: S311 # so that streams do not go in step
    sent = 0
    while not events or sent < events:
        await asyncio.sleep(due - clock())
        due += 1 / rate
        if sent == _THINKING_DELTAS:
            send(_TURN)
        if sent < _THINKING_DELTAS:
            send(_delta(0, "thinking", "thinking", stamp(sent)))
        else:
            send(_delta(1, "text", "text", stamp(sent)))
        await drain()
        sent += 1
    send(_END)
    writer.write(b"0\r\n\r\n")


async def _main() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(f"The fake upstream is at http://127.0.0.1:{port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    sys.exit(uvloop.run(_main()))
