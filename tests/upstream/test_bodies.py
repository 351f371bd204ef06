"""Bodies in pieces: uploads that are read while they are sent, and answers of lines and bytes."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from claude_grpc.errors import (
    InvalidRequestError,
    StreamInterruptedError,
    UpstreamConnectionError,
    UpstreamProtocolError,
    UpstreamStatusError,
    Violation,
)
from claude_grpc.upstream import Endpoint, Spool, StreamedBody, UpstreamRequest

# The promise is 0.1 s; the rest is for a machine that does other things, too.
AT_ONCE = 1.0
PIECES = [b"first", b"", b"x" * 700_000, b"last"]
WHOLE = b"".join(PIECES)
GET = UpstreamRequest(method="GET", path="/v1/files/f/content")


def post(body: StreamedBody) -> UpstreamRequest:
    return UpstreamRequest(method="POST", path="/v1/files", body=body, headers={"content-type": "a/b"})


async def some(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@pytest.mark.parametrize("length", [None, len(WHOLE)])
async def test_a_body_in_pieces_arrives_whole(serve: Any, connect: Any, length: int | None) -> None:
    received = asyncio.get_running_loop().create_future()

    async def script(peer: Any) -> None:
        received.set_result(await peer.request())
        peer.respond(200)

    upstream = await serve(script)
    await connect(upstream).send(post(StreamedBody(lambda: some(*PIECES), length=length)))
    request = await received
    assert request.body == WHOLE
    assert request.header("content-type") == "a/b"
    if length is None:
        assert (request.header("transfer-encoding"), request.header("content-length")) == ("chunked", None)
    else:
        assert (request.header("transfer-encoding"), request.header("content-length")) == (None, str(length))


@pytest.mark.parametrize("length", [None, len(WHOLE)])
async def test_a_source_that_fails_breaks_the_request_off_and_its_error_is_raised(
    serve: Any, connect: Any, length: int | None
) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"first"
        raise InvalidRequestError([Violation("chunk.offset", "Wrong.")])

    async def script(peer: Any) -> None:
        await peer.request()

    upstream = await serve(script)
    with pytest.raises(InvalidRequestError, match="Wrong"):
        await connect(upstream).send(post(StreamedBody(source, length=length)))
    peer = await upstream.peer()
    async with asyncio.timeout(AT_ONCE):
        await peer.closed
    assert not peer.task.done(), "the request must not have been whole"


async def test_a_body_that_has_begun_is_not_sent_again(serve: Any, connect: Any, waits: list[float]) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.respond(529, headers={"x-should-retry": "true"})

    upstream = await serve(script)
    with pytest.raises(UpstreamStatusError) as caught:
        await connect(upstream).send(post(StreamedBody(lambda: some(b"a"))))
    assert caught.value.context.attempts == 1
    assert waits == []


async def test_a_body_that_has_not_begun_waits_for_a_connection(connect: Any, waits: list[float]) -> None:
    body = StreamedBody(lambda: some(b"a"))
    client = connect(None, endpoint=Endpoint("http://127.0.0.1:1"))
    with pytest.raises(UpstreamConnectionError) as caught:
        await client.send(post(body))
    assert caught.value.context.attempts == 3
    assert len(waits) == 2
    assert body.sendable


@pytest.mark.parametrize("size", [0, 1000, 3_000_000])
async def test_a_spooled_body_is_sent_as_often_as_need_be(serve: Any, connect: Any, size: int) -> None:
    bodies: list[bytes] = []

    async def script(peer: Any) -> None:
        while True:
            request = await peer.request()
            bodies.append(request.body)
            assert request.header("content-length") == str(size + 2)
            peer.respond(529 if len(bodies) < 3 else 200)

    upstream = await serve(script)
    async with Spool(memory_bytes=100_000) as spool:
        await spool.write(b"{")
        for at in range(0, size, 1000):
            await spool.write(b"%03d" % (at // 1000 % 1000) + b"x" * 997)
        await spool.write(b"}")
        assert spool.size == size + 2
        response = await connect(upstream).send(post(await spool.body()))
    assert response.context.attempts == 3
    expected = b"{" + b"".join(b"%03d" % (n % 1000) + b"x" * 997 for n in range(size // 1000)) + b"}"
    assert bodies == [expected] * 3


async def test_a_spool_that_is_left_while_it_writes_leaves_nothing() -> None:
    async with Spool(memory_bytes=1000) as spool:
        writing = asyncio.ensure_future(spool.write(bytes(8_000_000)))
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait([writing])
        assert writing.cancelled()
    assert spool._file is not None
    assert spool._file.closed
    gc.collect()


async def test_an_early_answer_ends_the_upload(serve: Any, connect: Any) -> None:
    """The source is asked for nothing more, and whoever waits for it is let go."""
    asked = asyncio.Event()
    ended = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            asked.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def script(peer: Any) -> None:
        await peer.take()
        await asked.wait()
        peer.respond(413, b'{"error":{"type":"request_too_large","message":"no"}}', {"connection": "close"})
        await peer.stall()

    upstream = await serve(script)
    client = connect(upstream)
    if "aiohttp" not in type(client._transport).__module__:
        pytest.skip("httpx's own engine reads no answer before it has sent the request")
    with pytest.raises(UpstreamStatusError) as caught:
        await client.send(post(StreamedBody(source)))
    assert caught.value.http_status == 413
    async with asyncio.timeout(AT_ONCE):
        await ended.wait()
        await (await upstream.peer()).closed


async def test_a_cancel_within_an_upload_closes_the_connection_and_the_source(serve: Any, connect: Any) -> None:
    ended = asyncio.Event()
    asked = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            asked.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def script(peer: Any) -> None:
        await peer.stall()

    upstream = await serve(script)
    call = asyncio.ensure_future(connect(upstream).send(post(StreamedBody(source))))
    await asked.wait()
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    async with asyncio.timeout(AT_ONCE):
        await (await upstream.peer()).closed
        await ended.wait()


async def read(client: Any, kind: str) -> list[bytes]:
    found: list[bytes] = []
    async with await getattr(client, kind)(GET) as stream:
        async for read in stream:
            found += read
    return found


@pytest.mark.parametrize(
    "content_type", ["application/x-jsonl", "application/binary", "text/plain; charset=utf-8", "application/zip"]
)
async def test_lines_and_bytes_come_with_any_type(serve: Any, connect: Any, content_type: str) -> None:
    async def script(peer: Any) -> None:
        while True:
            request = await peer.request()
            assert request.header("accept") == "application/binary"
            peer.respond(206, b'{"a":1}\n{"b":2}', {"content-type": content_type, "x-a": "1", "request-id": "req_1"})

    client = connect(await serve(script))
    assert await read(client, "lines") == [b'{"a":1}', b'{"b":2}']
    assert b"".join(await read(client, "download")) == b'{"a":1}\n{"b":2}'
    async with await client.download(GET) as stream:
        assert (stream.response.status, stream.response.headers["x-a"], stream.context.request_id) == (
            206,
            "1",
            "req_1",
        )


@pytest.mark.parametrize("kind", ["lines", "download"])
async def test_an_encoded_answer_is_refused(serve: Any, connect: Any, kind: str) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.respond(200, b"x", {"content-encoding": "gzip"})

    with pytest.raises(UpstreamProtocolError):
        await read(connect(await serve(script)), kind)


@pytest.mark.parametrize("kind", ["lines", "download"])
async def test_an_answer_that_breaks_off_is_interrupted(serve: Any, connect: Any, kind: str) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.respond(200, b"1\n2\n", {"content-length": "100", "request-id": "req_1"})
        peer.close()

    with pytest.raises(StreamInterruptedError) as caught:
        await read(connect(await serve(script)), kind)
    assert caught.value.context.request_id == "req_1"


async def test_a_line_above_the_limit_is_a_protocol_error(serve: Any, connect: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.respond(200, b"x" * 101, {"request-id": "req_1"})

    with pytest.raises(UpstreamProtocolError) as caught:
        await read(connect(await serve(script), max_event_bytes=100), "lines")
    assert caught.value.context.request_id == "req_1"


@pytest.mark.parametrize("kind", ["lines", "download"])
async def test_leaving_an_answer_closes_the_connection(serve: Any, connect: Any, kind: str) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.respond(200, b"1\n", {"content-length": "100"})
        await peer.stall()

    upstream = await serve(script)
    async with await getattr(connect(upstream), kind)(GET) as stream:
        await anext(stream)
    async with asyncio.timeout(AT_ONCE):
        await (await upstream.peer()).closed


async def test_an_error_instead_of_an_answer_is_retried(serve: Any, connect: Any, waits: list[float]) -> None:
    answers = [529, 500, 200]

    async def script(peer: Any) -> None:
        while True:
            await peer.request()
            peer.respond(answers.pop(0), b"x")

    assert b"".join(await read(connect(await serve(script)), "download")) == b"x"
    assert len(waits) == 2
