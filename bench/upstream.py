"""A Claude API for measuring: takes batches and files of any size, gives results and contents likewise, keeps nothing.

Ids say what is asked for: ``msgbatch_100000_200`` has as many results, each with a text of so many bytes;
``file_524288000`` has a content of so many bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Iterator

from aiohttp import web

_BLOCK = 64 * 1024
_NOISE = random.Random(0).randbytes(_BLOCK)  # noqa: S311 # the same in every run
_ITEM = b'{"custom_id":'
_TIMES = {"created_at": "2026-10-21T00:00:00Z", "expires_at": "2026-10-22T00:00:00Z"}


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
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5-5",
        "content": [{"type": "text", "text": "x" * int(size)}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 10},
    }
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


def _size(request: web.Request) -> int:
    return int(request.match_info["file"].partition("_")[2])


def _file(size: int) -> dict[str, object]:
    about = {"id": f"file_{size}", "type": "file", "filename": "a", "mime_type": "a/b", "size_bytes": size}
    return {**about, "created_at": _TIMES["created_at"], "downloadable": True}


async def _serve() -> None:
    app = web.Application()
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
    asyncio.run(_serve())
