"""A Claude API for measuring: takes messages, batches and files of any size, gives results likewise, keeps nothing.

Ids say what is asked for: ``msgbatch_100000_200`` has as many results, each with a text of so many bytes;
``file_524288000`` has a content of so many bytes; the model ``every_50_1200`` streams so many deltas, one every so many
milliseconds, each with the time it was sent as its text, in nanoseconds of the monotonic clock.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
import time
from collections.abc import Iterator
from contextlib import suppress

import uvloop
from aiohttp import ClientConnectionResetError, web

_BLOCK = 64 * 1024
_NOISE = random.Random(0).randbytes(_BLOCK)  # noqa: S311 # the same in every run
_ITEM = b'{"custom_id":'
_MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-5-5",
    "content": [],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 10, "output_tokens": 10},
}
_TIMES = {"created_at": "2026-10-21T00:00:00Z", "expires_at": "2026-10-22T00:00:00Z"}


def _event(data: object) -> bytes:
    return b"data: %s\n\n" % json.dumps(data).encode()


_BLOCK_START = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
_BEGIN = _event({"type": "message_start", "message": _MESSAGE}) + _event(_BLOCK_START)
_DELTA = b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"@%020d"}}\n\n'
_END = _event({"type": "content_block_stop", "index": 0}) + _event({"type": "message_stop"})


def content(size: int) -> Iterator[bytes]:
    """The content of a file of this size."""
    for offset in range(0, size, _BLOCK):
        yield _NOISE[: size - offset]


async def _create_batch(request: web.Request) -> web.Response:
    count, tail = 0, b""
    async for piece in request.content.iter_any():
        tail += piece
        count += tail.count(_ITEM)
        tail = tail[-len(_ITEM) + 1 :]
    counts = {"processing": count, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
    batch = {"id": "b", "type": "message_batch", "processing_status": "in_progress", "request_counts": counts}
    return web.json_response({**batch, **_TIMES})


async def _results(request: web.Request) -> web.StreamResponse:
    _, count, size = request.match_info["batch"].split("_")
    message = _MESSAGE | {"content": [{"type": "text", "text": "x" * int(size)}]}
    rest = json.dumps({"type": "succeeded", "message": message})
    response = web.StreamResponse(headers={"content-type": "application/x-jsonl"})
    await response.prepare(request)
    for number in range(int(count)):
        await response.write(f'{{"custom_id":"c{number}","result":{rest}}}\n'.encode())
    return response


async def _get_batch(request: web.Request) -> web.Response:
    _, count, _ = request.match_info["batch"].split("_")
    return web.json_response({"id": "b", "processing_status": "ended", "request_counts": {"succeeded": int(count)}})


async def _upload(request: web.Request) -> web.Response:
    boundary = request.headers["content-type"].partition("boundary=")[2]
    end = f"\r\n--{boundary}--\r\n".encode()
    head = await request.content.readuntil(b"\r\n\r\n")
    digest, size, tail = hashlib.sha256(), 0, b""
    async for piece in request.content.iter_any():
        tail += piece
        ready, tail = tail[: -len(end)], tail[-len(end) :]
        digest.update(ready)
        size += len(ready)
    if tail != end or not head:
        return web.json_response({"error": {"type": "invalid_request_error", "message": "broken off"}}, status=400)
    return web.json_response(_file(size) | {"sha256": digest.hexdigest()})


async def _get_file(request: web.Request) -> web.Response:
    return web.json_response(_file(_size(request)))


async def _download(request: web.Request) -> web.StreamResponse:
    size = _size(request)
    response = web.StreamResponse(headers={"content-length": str(size), "content-type": "application/octet-stream"})
    await response.prepare(request)
    for block in content(size):
        await response.write(block)
    return response


async def _messages(request: web.Request) -> web.StreamResponse:
    head = b""
    async for piece in request.content.iter_any():
        head = head or piece
    every = re.search(rb'"model":"every_([0-9]+)_([0-9]+)"', head)
    if b'"stream":true' not in head:
        return web.json_response(_MESSAGE | {"content": [{"type": "text", "text": "Done."}]})
    wait, count = (int(every[1]) / 1000, int(every[2])) if every else (0, 1)
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    with suppress(ClientConnectionResetError):  # who has seen enough leaves
        await response.write(_BEGIN)
        await asyncio.sleep(random.random() * wait)  # noqa: S311 # so that the streams' events do not come in one beat
        for _ in range(count):
            await response.write(_DELTA % time.monotonic_ns())
            await asyncio.sleep(wait)
        await response.write(_END)
    return response


def _size(request: web.Request) -> int:
    return int(request.match_info["file"].partition("_")[2])


def _file(size: int) -> dict[str, object]:
    about = {"id": f"file_{size}", "type": "file", "filename": "a", "mime_type": "a/b", "size_bytes": size}
    return {**about, "created_at": _TIMES["created_at"], "downloadable": True}


async def _serve() -> None:
    app = web.Application()
    app.router.add_post("/v1/messages", _messages)
    app.router.add_post("/v1/messages/batches", _create_batch)
    app.router.add_get("/v1/messages/batches/{batch}", _get_batch)
    app.router.add_get("/v1/messages/batches/{batch}/results", _results)
    app.router.add_post("/v1/files", _upload)
    app.router.add_get("/v1/files/{file}", _get_file)
    app.router.add_get("/v1/files/{file}/content", _download)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve())
