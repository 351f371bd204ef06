"""What the trailer ``claude-grpc-timing`` says of uploads, batches and downloads: whose time it was."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from claude_grpc.v1.files_pb2 import DownloadFileRequest
from claude_grpc.v1.files_pb2_grpc import FilesServiceStub
from support.raw_upstream import Peer, raw_upstreams
from support.resources import batch_of, file_of
from support.stack import Stack, drain, gateway_before

WAIT = 0.4


def timing(trailers: Any) -> dict[str, float]:
    """The phases of a call in seconds."""
    line = dict(trailers)["claude-grpc-timing"]
    return {name: int(micros) / 1e6 for name, micros in (part.split("=") for part in line.split(","))}


@pytest.mark.parametrize("what", ["file", "batch"])
async def test_the_wait_for_a_callers_next_part_is_the_callers(stack: Stack, what: str) -> None:
    call = stack.files.UploadFile() if what == "file" else stack.batches.CreateMessageBatch()
    for request in file_of() if what == "file" else batch_of("Why?"):
        await call.write(request)
        await asyncio.sleep(WAIT)
    await call.done_writing()
    await call
    spent = timing(await call.trailing_metadata())
    assert spent["receive"] > 1.5 * WAIT
    assert spent["total"] - spent["receive"] < spent["receive"]
    assert spent["total"] == pytest.approx(sum(spent.values()) - spent["total"], abs=1e-5)


async def test_the_wait_for_upstreams_answer_to_an_upload_is_upstreams() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await asyncio.sleep(WAIT)
        peer.respond(200, b'{"id":"f"}')

    async with (
        raw_upstreams() as serve,
        gateway_before((await serve(script)).url) as (_, channel),
    ):
        stub: Any = FilesServiceStub(channel)  # type: ignore[no-untyped-call]
        spent = timing((await drain(stub.UploadFile(file_of()))).trailers)
    assert spent["first-event"] > 0.9 * WAIT
    assert spent["receive"] < WAIT


async def test_the_wait_for_more_of_a_download_is_upstreams() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.respond(200, b'{"id":"f","size_bytes":10}')
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
        await asyncio.sleep(WAIT)
        peer.send(b"world")

    async with (
        raw_upstreams() as serve,
        gateway_before((await serve(script)).url) as (_, channel),
    ):
        stub: Any = FilesServiceStub(channel)  # type: ignore[no-untyped-call]
        ended = await drain(stub.DownloadFile(DownloadFileRequest(file_id="f")))
    spent = timing(ended.trailers)
    assert len(ended.events) == 3
    assert spent["stream"] > 0.9 * WAIT
    assert spent["relay"] < WAIT
