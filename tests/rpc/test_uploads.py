"""Files up: in chunks, checked, sent on while they come, and never half."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import google_crc32c
import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from claude_grpc.simulator import SimulatorOptions
from claude_grpc.v1.content_pb2 import ContentBlock
from claude_grpc.v1.files_pb2 import DeleteFileRequest, FileChunk, UploadFileHeader, UploadFileRequest
from claude_grpc.v1.files_pb2_grpc import FilesServiceStub
from claude_grpc.v1.messages_pb2 import ROLE_USER, CreateMessageRequest, InputMessage
from support.raw_upstream import Peer, raw_upstreams
from support.stack import Stack, drain, gateway_before, open_stack, params

INVALID = grpc.StatusCode.INVALID_ARGUMENT
MIB = 1024 * 1024
# The promise is 0.1 s; the rest is for a machine that does other things, too.
AT_ONCE = 1.0


def upload(content: bytes = b"hello world", *, size: int = MIB, **header: Any) -> Iterator[UploadFileRequest]:
    """A header and chunks of this size."""
    yield UploadFileRequest(header=UploadFileHeader(**{"filename": "a.txt", "mime_type": "text/plain", **header}))
    for offset in range(0, len(content), size):
        data = content[offset : offset + size]
        yield UploadFileRequest(chunk=FileChunk(offset=offset, data=data, crc32c=google_crc32c.value(data)))


def noise(size: int) -> bytes:
    return hashlib.shake_128(b"seed").digest(size)


@pytest.mark.parametrize("engine", ["aiohttp", "httpx"])
@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("size", [0, 1, 3 * MIB + 17])
async def test_a_file_arrives_as_it_was_sent(engine: str, told: bool, size: int) -> None:
    content = noise(size)
    facts = {"size_bytes": size, "sha256": hashlib.sha256(content).digest()} if told else {}
    async with open_stack(engine=engine) as stack:
        file = (await stack.files.UploadFile(upload(content, filename="a b.pdf", **facts))).file
        assert (file.filename, file.mime_type, file.size_bytes, file.type) == ("a b.pdf", "text/plain", size, "file")
        assert file.HasField("create_time")
        [kept] = stack.simulator.files.values()
        assert (kept.id, kept.content.sha256) == (file.id, hashlib.sha256(content).hexdigest())
        headers = stack.simulator.requests[-1].headers
        assert ("content-length" in headers) == told


async def test_a_file_that_is_sent_byte_by_byte_is_the_same(stack: Stack) -> None:
    file = (await stack.files.UploadFile(upload(b"hello world", size=1, expire_after=Duration(seconds=3600)))).file
    assert file.expire_time.seconds - file.create_time.seconds == 3600
    assert stack.simulator.files[file.id].content.sha256 == hashlib.sha256(b"hello world").hexdigest()


def naming(kind: str, file_id: str) -> ContentBlock:
    block = ContentBlock()
    if kind == "container_upload":
        block.container_upload.file_id = file_id
    else:
        getattr(block, kind).source.file.file_id = file_id
    return block


@pytest.mark.parametrize("betas", [[], ["files-api-2025-04-14"]], ids=["today", "old beta"])
@pytest.mark.parametrize(
    ("kind", "mime_type"),
    [("document", "application/pdf"), ("image", "image/png"), ("container_upload", "text/csv")],
)
async def test_a_message_can_name_the_file(stack: Stack, kind: str, mime_type: str, betas: list[str]) -> None:
    file = (await stack.files.UploadFile(upload(b"some", filename="a", mime_type=mime_type, betas=betas))).file
    assert (file.filename, file.mime_type, file.size_bytes) == ("a", mime_type, 4)
    block = naming(kind, file.id)
    request = CreateMessageRequest(params=params(), betas=betas)
    if kind == "container_upload":
        tool = request.params.tools.add(type="code_execution_20260521")
        tool.code_execution.name = "code_execution"
    request.params.messages[0].CopyFrom(InputMessage(role=ROLE_USER, content=[block]))
    await stack.messages.CreateMessage(request)
    assert json.loads(stack.simulator.requests[-1].body)["messages"][0]["content"][0]["type"] == kind
    await stack.files.DeleteFile(DeleteFileRequest(file_id=file.id))
    ended = await drain(stack.messages.CreateMessage(request))
    assert ended.code in {grpc.StatusCode.NOT_FOUND, INVALID}


@pytest.mark.parametrize(
    "name", ["résumé.pdf", "報告 2026.pdf", "100%.txt", "a;b=c.txt", "'x'.txt", "a&b+c.txt", ". ..", "~"]
)
async def test_any_name_arrives_exactly_and_no_header_holds_it_raw(stack: Stack, name: str) -> None:
    file = (await stack.files.UploadFile(upload(filename=name))).file
    assert file.filename == name
    head = stack.simulator.requests[-1].body.split(b"\r\n\r\n")[0]
    assert head.isascii()
    assert head.count(b"\r\n") == 2


BAD_NAMES = [
    "",
    "../x",
    "a/b",
    "/etc/passwd",
    "a\\b",
    "..",
    ".",
    "a\x00b",
    "a\r\nx-evil: 1",
    "a\x7f",
    "a\u2028b",
    "x" * 1025,
]


@pytest.mark.parametrize("name", BAD_NAMES)
async def test_a_name_with_a_path_or_control_characters_is_refused(stack: Stack, name: str) -> None:
    ended = await drain(stack.files.UploadFile(upload(filename=name)))
    assert (ended.code, list(ended.violations)) == (INVALID, ["header.filename"])
    assert not stack.simulator.requests


async def test_a_quote_in_a_name_leaves_its_place_in_no_header() -> None:
    async with raw_upstreams() as serve:
        received = asyncio.get_running_loop().create_future()

        async def script(peer: Peer) -> None:
            received.set_result(await peer.request())
            peer.respond(200, b'{"id":"file_1"}')

        upstream = await serve(script)
        async with gateway_before(upstream.url) as (_, channel):
            await FilesServiceStub(channel).UploadFile(upload(filename='a".txt; name="x'))  # type: ignore[no-untyped-call]
        head = (await received).body.split(b"\r\n\r\n")[0].decode("ascii")
    _, disposition, content_type = head.splitlines()
    assert content_type == "Content-Type: text/plain"
    assert disposition.endswith("; filename=\"a%22.txt; name=%22x\"; filename*=UTF-8''a%22.txt%3B%20name%3D%22x")


def chunk(offset: int, data: bytes, **fields: Any) -> UploadFileRequest:
    return UploadFileRequest(chunk=FileChunk(offset=offset, data=data, **fields))


HEADER = next(upload())
HASH = hashlib.sha256(b"hello").digest()
BAD_STREAMS: dict[str, tuple[list[UploadFileRequest], str]] = {
    "nothing": ([], "header"),
    "no header": ([chunk(0, b"a")], "header"),
    "an empty message": ([UploadFileRequest()], "header"),
    "a header twice": ([HEADER, HEADER], "header"),
    "a header after a chunk": ([HEADER, chunk(0, b"a"), HEADER], "header"),
    "an empty message later": ([HEADER, UploadFileRequest()], "part"),
    "a part of a newer version": ([HEADER, UploadFileRequest.FromString(b"\x3a\x00")], "#7"),
    "a header of a newer version": (
        [UploadFileRequest(header=UploadFileHeader.FromString(b"\x0a\x01a\xfa\x7f\x00"))],
        "header.#2047",
    ),
    "a chunk of a newer version": (
        [HEADER, UploadFileRequest(chunk=FileChunk.FromString(b"\x12\x01a\xfa\x7f\x00"))],
        "chunk.#2047",
    ),
    "a chunk out of order": ([HEADER, chunk(0, b"abc"), chunk(2, b"d")], "chunk.offset"),
    "a gap": ([HEADER, chunk(0, b"abc"), chunk(4, b"d")], "chunk.offset"),
    "a chunk twice": ([HEADER, chunk(0, b"abc"), chunk(0, b"abc")], "chunk.offset"),
    "a negative offset": ([HEADER, chunk(-1, b"abc")], "chunk.offset"),
    "a chunk that is too large": ([HEADER, chunk(0, bytes(MIB + 1))], "chunk.data"),
    "a wrong checksum": ([HEADER, chunk(0, b"abc", crc32c=1)], "chunk.crc32c"),
    "too few bytes": ([*upload(b"hell", size_bytes=5)], "header.size_bytes"),
    "too many bytes": ([*upload(b"hello!", size_bytes=5)], "header.size_bytes"),
    "a negative size": ([*upload(b"", size_bytes=-1)], "header.size_bytes"),
    "other content": ([*upload(b"hellO", sha256=HASH)], "header.sha256"),
    "large other content": ([*upload(bytes(MIB), sha256=HASH)], "header.sha256"),
    "a hash that is none": ([*upload(b"hello", sha256=b"abc")], "header.sha256"),
    "a type that is none": ([*upload(mime_type="text")], "header.mime_type"),
    "a type that breaks out": ([*upload(mime_type="a/b\r\nx: y")], "header.mime_type"),
    "a beta that breaks out": ([*upload(betas=["\r\n"])], "header.betas[0]"),
    "half a second": ([*upload(expire_after=Duration(nanos=500))], "header.expire_after"),
    "less than a second": ([*upload(expire_after=Duration(seconds=-3600))], "header.expire_after"),
    "more that is no JSON": ([*upload(extra_json="{")], "header.extra_json"),
    "more that is no object": ([*upload(extra_json="[]")], "header.extra_json"),
    "more that is the file": ([*upload(extra_json='{"file":"x"}')], "header.extra_json"),
}


@pytest.mark.parametrize("engine", ["aiohttp", "httpx"])
@pytest.mark.parametrize("what", BAD_STREAMS)
async def test_a_stream_that_is_wrong_is_refused_and_leaves_no_file(engine: str, what: str) -> None:
    requests, path = BAD_STREAMS[what]
    async with open_stack(engine=engine) as stack:
        ended = await drain(stack.files.UploadFile(iter(requests)))
        assert (ended.code, list(ended.violations)) == (INVALID, [path])
        for exchange in stack.simulator.requests:
            await stack.simulator.wait_closed(exchange)
            assert exchange.closed_early
        assert not stack.simulator.files


async def test_a_file_beyond_the_limit_is_refused_at_the_chunk_that_passes_it() -> None:
    async with open_stack(max_file_bytes=2 * MIB) as stack:
        ended = await drain(stack.files.UploadFile(upload(bytes(2 * MIB + 1))))
        assert (ended.code, ended.info.reason) == (INVALID, "REQUEST_TOO_LARGE")
        assert list(ended.violations) == ["chunk"]
        ended = await drain(stack.files.UploadFile(upload(b"", size_bytes=2 * MIB + 1)))
        assert (ended.info.reason, list(ended.violations)) == ("REQUEST_TOO_LARGE", ["header.size_bytes"])
        assert not stack.simulator.files


@pytest.mark.parametrize("told", [False, True])
async def test_what_upstream_refuses_while_it_is_sent_ends_the_call(told: bool) -> None:
    async with open_stack(SimulatorOptions(max_file_bytes=MIB)) as stack:
        # It fits into the gateway's window: grpc.aio takes a write that the end of its call meets for its own failure.
        content = bytes(3 * MIB // 2)
        ended = await drain(stack.files.UploadFile(upload(content, **({"size_bytes": len(content)} if told else {}))))
        assert (ended.code, ended.info.reason) == (INVALID, "REQUEST_TOO_LARGE")
        assert ended.info.domain == "api.anthropic.com"


async def test_an_answer_before_the_end_of_the_upload_is_not_taken_for_success() -> None:
    async with raw_upstreams() as serve:
        reached = asyncio.Event()

        async def script(peer: Peer) -> None:
            await peer.take()
            peer.respond(200, b'{"id":"file_1"}', {"connection": "close"})
            reached.set()
            await peer.stall()

        async def slow() -> AsyncIterator[UploadFileRequest]:
            for request in upload():
                yield request
            await reached.wait()
            await asyncio.Event().wait()

        upstream = await serve(script)
        async with gateway_before(upstream.url) as (_, channel):
            ended = await drain(FilesServiceStub(channel).UploadFile(slow()))  # type: ignore[no-untyped-call]
        assert (ended.code, ended.info.reason) == (grpc.StatusCode.INTERNAL, "UPSTREAM_PROTOCOL")


async def test_an_upload_that_has_begun_is_not_sent_again() -> None:
    async with open_stack(max_retries=2) as stack:
        stack.simulator.script("error 529 retry-after-ms=1")
        ended = await drain(stack.files.UploadFile(upload()))
        assert (ended.code, ended.info.reason) == (grpc.StatusCode.UNAVAILABLE, "OVERLOADED")
        assert ended.trailers["claude-grpc-attempts"] == "1"
        assert len(stack.simulator.requests) == 1


@pytest.mark.parametrize("engine", ["aiohttp", "httpx"])
@pytest.mark.parametrize("told", [False, True])
async def test_a_caller_that_leaves_in_the_middle_has_not_sent_a_whole_request(engine: str, told: bool) -> None:
    async with raw_upstreams() as serve:

        async def script(peer: Peer) -> None:
            await peer.request()

        size = 3 * MIB
        upstream = await serve(script)
        async with gateway_before(upstream.url, engine=engine) as (_, channel):
            call = FilesServiceStub(channel).UploadFile()  # type: ignore[no-untyped-call]
            for request in upload(bytes(size), **({"size_bytes": size} if told else {})):
                await call.write(request)
            peer = await upstream.peer()
            while peer.received < size:
                await asyncio.sleep(0.01)
            assert not peer.task.done()
            call.cancel()
            async with asyncio.timeout(AT_ONCE):
                await peer.closed
            assert not peer.task.done(), "the request must not have been whole"


async def test_a_parameter_without_a_field_becomes_a_field_of_the_form(stack: Stack) -> None:
    extra = json.dumps({"future": "é", "count": 3, "empty": ""}, ensure_ascii=False)
    ended = await drain(stack.files.UploadFile(upload(extra_json=extra)))
    assert (ended.code, list(ended.violations)) == (INVALID, ["future"]), "it reached upstream, which knows it not"
    async with raw_upstreams() as serve:
        received = asyncio.get_running_loop().create_future()

        async def script(peer: Peer) -> None:
            received.set_result(await peer.request())
            peer.respond(200, b'{"id":"file_1"}')

        upstream = await serve(script)
        async with gateway_before(upstream.url) as (_, channel):
            await FilesServiceStub(channel).UploadFile(upload(extra_json=extra))  # type: ignore[no-untyped-call]
        body = (await received).body.decode()
        for name, value in {"future": "é", "count": "3", "empty": ""}.items():
            assert f'name="{name}"\r\n\r\n{value}\r\n--' in body
