"""Files down, and what is known of them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

import google_crc32c
import grpc
import pytest

from claude_grpc.v1.files_pb2 import DeleteFileRequest, DownloadFileRequest, GetFileRequest, ListFilesRequest
from claude_grpc.v1.files_pb2_grpc import FilesServiceStub
from support.raw_upstream import Peer, raw_upstreams
from support.stack import Stack, drain, gateway_before, open_stack

OK, INVALID = grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT
MIB = 1024 * 1024
# The promise is 0.1 s; the rest is for a machine that does other things, too.
AT_ONCE = 1.0


def noise(size: int) -> bytes:
    return hashlib.shake_128(b"seed").digest(size)


async def download(stack: Stack, file_id: str, offset: int = 0) -> tuple[Any, bytes]:
    """What is known of the file, and its content, after checking each chunk."""
    known, content = None, bytearray()
    async for response in stack.files.DownloadFile(DownloadFileRequest(file_id=file_id, offset=offset)):
        if known is None:
            known = response.file
            continue
        assert response.chunk.offset == offset + len(content)
        assert 0 < len(response.chunk.data) <= MIB
        assert google_crc32c.value(response.chunk.data) == response.chunk.crc32c
        content += response.chunk.data
    return known, bytes(content)


@pytest.mark.parametrize("engine", ["aiohttp", "httpx"])
@pytest.mark.parametrize("size", [0, 1, 5 * MIB + 3])
async def test_a_download_brings_what_is_known_and_then_the_content(engine: str, size: int) -> None:
    async with open_stack(engine=engine) as stack:
        content = noise(size)
        kept = stack.simulator.add_file("plot.png", content, "image/png")
        known, got = await download(stack, kept.id)
        assert (known.id, known.filename, known.mime_type, known.size_bytes) == (kept.id, "plot.png", "image/png", size)
        assert got == content


@pytest.mark.parametrize("offset", [1, MIB, 2 * MIB + 16, 2 * MIB + 17])
async def test_a_download_goes_on_at_any_byte(stack: Stack, offset: int) -> None:
    content = noise(2 * MIB + 17)
    kept = stack.simulator.add_file("a", content)
    _, got = await download(stack, kept.id, offset)
    assert hashlib.sha256(content[:offset] + got).digest() == hashlib.sha256(content).digest()


@pytest.mark.parametrize("heeded", [False, True])
async def test_a_range_is_used_where_upstream_heeds_it(heeded: bool) -> None:
    content = noise(300_000)
    async with raw_upstreams() as serve:

        async def script(peer: Peer) -> None:
            await peer.request()
            peer.respond(200, b'{"id":"f","size_bytes":300000}')
            request = await peer.request()
            assert request.header("range") == "bytes=100000-"
            if heeded:
                peer.respond(206, content[100_000:], {"content-range": "bytes 100000-299999/300000"})
            else:
                peer.respond(200, content)

        upstream = await serve(script)
        async with gateway_before(upstream.url) as (_, channel):
            stub = FilesServiceStub(channel)  # type: ignore[no-untyped-call]
            ended = await drain(stub.DownloadFile(DownloadFileRequest(file_id="f", offset=100_000)))
        assert ended.code is OK
        assert b"".join(each.chunk.data for each in ended.events[1:]) == content[100_000:]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (206, {}, b"x" * 10),
        (206, {"content-range": "bytes 0-9/10"}, b"x" * 9),
        (200, {}, b"x" * 9),
        (200, {}, b"x" * 11),
    ],
)
async def test_content_of_another_size_is_not_ok(status: int, headers: dict[str, str], body: bytes) -> None:
    async with raw_upstreams() as serve:

        async def script(peer: Peer) -> None:
            await peer.request()
            peer.respond(200, b'{"id":"f","size_bytes":10}')
            await peer.request()
            peer.respond(status, body, headers)

        upstream = await serve(script)
        async with gateway_before(upstream.url) as (_, channel):
            stub = FilesServiceStub(channel)  # type: ignore[no-untyped-call]
            ended = await drain(stub.DownloadFile(DownloadFileRequest(file_id="f")))
        assert ended.code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL}
        assert ended.info.metadata["partial"] == "true"


@pytest.mark.parametrize(("offset", "code"), [(6, grpc.StatusCode.OUT_OF_RANGE), (-1, INVALID)])
async def test_an_offset_that_is_none_is_refused(stack: Stack, offset: int, code: grpc.StatusCode) -> None:
    kept = stack.simulator.add_file("a", b"hello")
    ended = await drain(stack.files.DownloadFile(DownloadFileRequest(file_id=kept.id, offset=offset)))
    assert (ended.code, list(ended.violations), ended.events) == (code, ["offset"], [])


@pytest.mark.parametrize("fault", ["cut at=100000", "reset at=100000", "truncate at=100000", "stall at=100000"])
async def test_a_download_that_breaks_off_goes_on_where_it_ended(fault: str) -> None:
    async with open_stack(read_timeout=0.3) as stack:
        content = noise(MIB)
        kept = stack.simulator.add_file("a", content)
        stack.simulator.script(fault, path="*/content")
        ended = await drain(stack.files.DownloadFile(DownloadFileRequest(file_id=kept.id)))
        assert ended.code is grpc.StatusCode.UNAVAILABLE
        assert ended.info.metadata["partial"] == "true"
        got = b"".join(each.chunk.data for each in ended.events[1:])  # type: ignore[attr-defined]
        assert 0 < len(got) < MIB
        _, rest = await download(stack, kept.id, len(got))
        assert got + rest == content


async def test_a_reader_that_does_not_read_holds_upstream_up() -> None:
    size = 64 * MIB
    async with open_stack() as stack:
        kept = stack.simulator.add_file("a", size)
        call = stack.files.DownloadFile(DownloadFileRequest(file_id=kept.id))
        await call.read()
        exchange = stack.simulator.requests[-1]
        sent = -1
        while exchange.sent != sent:
            sent = exchange.sent
            await asyncio.sleep(0.2)
        assert 0 < sent < size / 2
        call.cancel()
        await stack.simulator.wait_closed(exchange)


ERRORS = {
    "not downloadable": (grpc.StatusCode.FAILED_PRECONDITION, "FILE_NOT_DOWNLOADABLE"),
    "expired": (grpc.StatusCode.NOT_FOUND, "FILE_EXPIRED"),
    "deleted": (grpc.StatusCode.NOT_FOUND, "NOT_FOUND"),
}


@pytest.mark.parametrize("what", ERRORS)
async def test_a_file_that_cannot_be_downloaded_says_why(stack: Stack, what: str) -> None:
    kept = stack.simulator.add_file("a", b"x", downloadable=what != "not downloadable", expires_in=3600)
    if what == "expired":
        stack.simulator.pass_time(3601)
    if what == "deleted":
        await stack.files.DeleteFile(DeleteFileRequest(file_id=kept.id))
    ended = await drain(stack.files.DownloadFile(DownloadFileRequest(file_id=kept.id)))
    assert (ended.code, ended.info.reason) == ERRORS[what]
    assert not ended.events
    assert ended.info.metadata["partial"] == "false"


async def test_files_are_got_listed_and_deleted(stack: Stack) -> None:
    kept = [stack.simulator.add_file(f"{n}.txt", b"x" * n) for n in range(5)]
    file = (await stack.files.GetFile(GetFileRequest(file_id=kept[2].id))).file
    assert (file.id, file.filename, file.size_bytes, file.downloadable) == (kept[2].id, "2.txt", 2, True)
    names: list[str] = []
    token, pages = "", 0
    while pages == 0 or token:
        page = await stack.files.ListFiles(ListFilesRequest(page_size=2, page_token=token))
        names += [each.filename for each in page.files]
        token, pages = page.next_page_token, pages + 1
    assert names == ["4.txt", "3.txt", "2.txt", "1.txt", "0.txt"]
    assert pages == 3
    page = await stack.files.ListFiles(ListFilesRequest(file_ids=[kept[0].id, "file_gone", kept[4].id]))
    assert {each.filename for each in page.files} == {"0.txt", "4.txt"}
    assert not page.next_page_token
    deleted = await stack.files.DeleteFile(DeleteFileRequest(file_id=kept[2].id))
    assert (deleted.id, deleted.type) == (kept[2].id, "file_deleted")
    for request in (GetFileRequest(file_id=kept[2].id), DeleteFileRequest(file_id=kept[2].id)):
        method = type(request).__name__.removesuffix("Request")
        ended = await drain(getattr(stack.files, method)(request))
        assert (ended.code, ended.info.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


async def test_ids_and_pages_exclude_each_other(stack: Stack) -> None:
    ended = await drain(stack.files.ListFiles(ListFilesRequest(file_ids=["a"], page_size=2)))
    assert (ended.code, list(ended.violations)) == (INVALID, ["file_ids"])


@pytest.mark.parametrize("file_id", ["", ".", "..", "x" * 257])
async def test_an_id_that_is_none_is_refused(stack: Stack, file_id: str) -> None:
    for method, request in (("GetFile", GetFileRequest), ("DownloadFile", DownloadFileRequest)):
        ended = await drain(getattr(stack.files, method)(request(file_id=file_id)))
        assert (ended.code, list(ended.violations)) == (INVALID, ["file_id"])
    assert not stack.simulator.requests


@pytest.mark.parametrize(
    ("file_id", "path"),
    [
        ("a/b", "/v1/files/a%2Fb"),
        ("../models", "/v1/files/..%2Fmodels"),
        ("a?b#c", "/v1/files/a%3Fb%23c"),
        ("a;x", "/v1/files/a%3Bx"),
        ("é\x00", "/v1/files/%C3%A9%00"),
        ("%2e%2e", "/v1/files/%252e%252e"),
    ],
)
async def test_an_id_stays_one_step_of_the_path(file_id: str, path: str) -> None:
    async with raw_upstreams() as serve:
        received = asyncio.get_running_loop().create_future()

        async def script(peer: Peer) -> None:
            received.set_result(await peer.request())
            peer.respond(200, b"{}")

        upstream = await serve(script)
        async with gateway_before(upstream.url) as (_, channel):
            await FilesServiceStub(channel).GetFile(GetFileRequest(file_id=file_id))  # type: ignore[no-untyped-call]
        assert (await received).line == f"GET {path} HTTP/1.1"


async def test_the_shapes_of_the_old_beta_lose_nothing(stack: Stack) -> None:
    for n in range(3):
        stack.simulator.add_file(f"{n}.txt", b"x")
    request = ListFilesRequest(betas=["files-api-2025-04-14"], page_size=2)
    page = await stack.files.ListFiles(request)
    assert [file.filename for file in page.files] == ["2.txt", "1.txt"]
    extra = json.loads(page.extra_json)
    assert (extra["has_more"], extra["last_id"]) == (True, page.files[-1].id)
    request.page_token = page.next_page_token
    page = await stack.files.ListFiles(request)
    assert [file.filename for file in page.files] == ["0.txt"]
    assert not page.next_page_token


async def test_fields_that_nobody_has_heard_of_reach_the_caller(stack: Stack) -> None:
    kept = stack.simulator.add_file("a", b"x")
    stack.simulator.script("extra-field", "extra-field")
    assert "future_field" in (await stack.files.GetFile(GetFileRequest(file_id=kept.id))).file.extra_json
    page = await stack.files.ListFiles(ListFilesRequest())
    assert "future_field" in page.extra_json
    assert "future_field" in page.files[0].extra_json
