"""Requests and responses over both engines, which are held to the same behaviour at httpx's transport seam."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from support.http import post, read_all


async def test_nothing_is_sent_but_what_the_request_says(serve: Any, transport: Any) -> None:
    received = asyncio.get_running_loop().create_future()

    async def script(peer: Any) -> None:
        received.set_result(await peer.request())
        peer.respond(200, b'{"a":1}', {"content-type": "application/json", "x-two": "2"})

    upstream = await serve(script)
    response = await transport.send(post(upstream.url + "/v1/messages?a=%2F", b'{"q":1}'))
    assert (response.status, response.headers["x-two"], await read_all(response)) == (200, "2", b'{"a":1}')
    request = await received
    assert request.line == "POST /v1/messages?a=%2F HTTP/1.1"
    assert request.body == b'{"q":1}'
    assert sorted(request.headers) == [
        ("accept-encoding", "identity"),
        ("content-length", "7"),
        ("host", upstream.netloc),
        ("x-one", "1"),
    ]


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
async def test_a_request_without_a_body_sends_none(serve: Any, transport: Any, method: str) -> None:
    received = asyncio.get_running_loop().create_future()

    async def script(peer: Any) -> None:
        received.set_result(await peer.request())
        peer.respond(200)

    upstream = await serve(script)
    await read_all(await transport.send(post(upstream.url, b"", method=method)))
    request = await received
    assert request.line == f"{method} / HTTP/1.1"
    assert request.header("content-length") in {None, "0"}


async def test_a_body_is_sent_whole_from_bytes_and_from_a_stream(serve: Any, transport: Any) -> None:
    bodies = asyncio.Queue[bytes]()

    async def script(peer: Any) -> None:
        while True:
            bodies.put_nowait((await peer.request()).body)
            peer.respond(200)

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"abc", large, b"xyz"):
            yield piece

    upstream = await serve(script)
    large = bytes(range(256)) * 8_000
    for content, expected in ((large, large), (pieces(), b"abc" + large + b"xyz")):
        await read_all(await transport.send(post(upstream.url, content)))
        assert await bodies.get() == expected


async def test_an_error_of_the_bodys_source_is_raised_as_it_is(serve: Any, transport: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.stall()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"abc"
        raise LookupError

    upstream = await serve(script)
    with pytest.raises(LookupError):
        await transport.send(post(upstream.url, pieces()))
    await closes(await upstream.peer())


async def test_each_piece_is_handed_on_when_it_arrives(serve: Any, transport: Any) -> None:
    go_on = asyncio.Event()

    async def script(peer: Any) -> None:
        await peer.request()
        peer.start_events()
        for piece in (b"one", b"two"):
            peer.send_chunk(piece)
            await go_on.wait()
            go_on.clear()
        peer.end_chunks()

    upstream = await serve(script)
    response = await transport.send(post(upstream.url))
    pieces = []
    async for piece in response:
        pieces.append(piece)
        go_on.set()
    assert pieces == [b"one", b"two"]
    await response.aclose()


async def test_a_connection_serves_again_after_a_response_read_to_its_end(serve: Any, transport: Any) -> None:
    async def script(peer: Any) -> None:
        while True:
            await peer.request()
            peer.start_events({"set-cookie": "a=b; Path=/"})
            peer.send_chunk(b"one")
            peer.end_chunks()

    upstream = await serve(script)
    for _ in range(3):
        assert await read_all(await transport.send(post(upstream.url))) == b"one"
    await upstream.peer()
    assert upstream.unseen() == 0


async def test_no_cookie_is_kept_no_redirect_followed_nothing_decompressed(serve: Any, transport: Any) -> None:
    requests = asyncio.Queue[Any]()

    async def script(peer: Any) -> None:
        while True:
            requests.put_nowait(await peer.request())
            peer.respond(307, b"\x1f\x8b", {"set-cookie": "a=b", "location": "/other", "content-encoding": "gzip"})

    upstream = await serve(script)
    for _ in range(2):
        response = await transport.send(post(upstream.url))
        assert (response.status, await read_all(response)) == (307, b"\x1f\x8b")
        assert (await requests.get()).header("cookie") is None
    assert requests.empty()


@pytest.mark.parametrize("received", [0, 1])
async def test_a_response_closed_before_its_end_closes_its_connection(
    serve: Any, transport: Any, received: int
) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.start_events()
        peer.send_chunk(b"one")
        await peer.stall()

    upstream = await serve(script)
    response = await transport.send(post(upstream.url))
    pieces = aiter(response)
    for _ in range(received):
        assert await anext(pieces) == b"one"
    await response.aclose()
    await response.aclose()
    await closes(await upstream.peer())


async def test_a_response_that_is_not_read_holds_its_sender_back(serve: Any, transport: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.respond(200, bytes(size))
        await peer.stall()

    size = 64 * 1024 * 1024
    upstream = await serve(script)
    response = await transport.send(post(upstream.url))
    peer = await upstream.peer()
    pieces = aiter(response)
    read_first = len(await anext(pieces))
    for _ in range(20):
        await turns()
    # What is neither read nor at the sender is in the kernel's buffers, which are small beside the whole.
    assert peer.transport.get_write_buffer_size() > size / 2
    assert sum([len(piece) async for piece in pieces]) + read_first == size
    await response.aclose()


@pytest.mark.parametrize("ending", ["close", "reset"])
async def test_a_slow_reader_gets_all_that_came_before_the_failure(serve: Any, transport: Any, ending: str) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.start_events()
        peer.send_chunk(b"one")
        await has_come.wait()
        peer.close() if ending == "close" else peer.reset()

    has_come = asyncio.Event()
    upstream = await serve(script)
    response = await transport.send(post(upstream.url))
    await turns()
    has_come.set()
    await closes(await upstream.peer())
    await turns()
    pieces = aiter(response)
    assert await anext(pieces) == b"one"
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await anext(pieces)
    await response.aclose()


async def test_silence_before_the_headers_is_a_read_timeout(serve: Any, transport: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        await peer.stall()

    upstream = await serve(script)
    with pytest.raises(httpx.ReadTimeout):
        await transport.send(post(upstream.url, read=0.05))
    await closes(await upstream.peer())


async def test_silence_within_the_body_is_a_read_timeout(serve: Any, transport: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.start_events()
        await peer.stall()

    upstream = await serve(script)
    response = await transport.send(post(upstream.url, read=0.05))
    with pytest.raises(httpx.ReadTimeout):
        await read_all(response)
    await closes(await upstream.peer())


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_request_that_is_not_taken_is_a_write_timeout(serve: Any, transport: Any, streamed: bool) -> None:
    async def script(peer: Any) -> None:
        peer.transport.pause_reading()
        await asyncio.shield(gave_up.wait())
        peer.transport.resume_reading()
        await peer.stall()

    async def pieces() -> AsyncIterator[bytes]:
        yield body

    gave_up = asyncio.Event()
    body = bytes(32 * 1024 * 1024)
    upstream = await serve(script)
    with pytest.raises(httpx.WriteTimeout):
        await transport.send(post(upstream.url, pieces() if streamed else body, write=0.2))
    gave_up.set()
    peer = await upstream.peer()
    await closes(peer)
    assert peer.received < len(body)


async def test_a_connection_that_breaks_while_the_request_is_sent_is_a_network_error(
    serve: Any, transport: Any
) -> None:
    async def script(peer: Any) -> None:
        await peer.take()
        peer.reset()

    upstream = await serve(script)
    with pytest.raises(httpx.NetworkError):
        await transport.send(post(upstream.url, bytes(32 * 1024 * 1024)))


async def test_an_answer_before_the_whole_request_is_handed_on_and_its_connection_serves_no_more(
    serve: Any, engine: Any, transport: Any
) -> None:
    if engine == "httpx":
        pytest.skip("httpx waits until the request is whole")

    async def script(peer: Any) -> None:
        await peer.take()
        peer.respond(413, b"no")
        await peer.stall()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"abc"
        await asyncio.Event().wait()

    upstream = await serve(script)
    response = await transport.send(post(upstream.url, pieces()))
    assert (response.status, await read_all(response)) == (413, b"no")
    await closes(await upstream.peer())


async def test_news_before_the_answer_is_passed_over(serve: Any, transport: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
        peer.respond(200, b"yes")

    upstream = await serve(script)
    response = await transport.send(post(upstream.url))
    assert (response.status, await read_all(response)) == (200, b"yes")


@pytest.mark.parametrize(
    ("bytes_sent", "text"),
    [
        (b"", "^Server disconnected without sending a response.$"),
        (b"HTTP/1.1 200", "^Server disconnected without sending a response.$"),
        (b"SSH-2.0-x\r\n\r\n", "^(?!Server disconnected)"),
    ],
)
async def test_what_is_no_response_is_a_protocol_error(
    serve: Any, transport: Any, bytes_sent: bytes, text: str
) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.send(bytes_sent)
        peer.close()

    upstream = await serve(script)
    with pytest.raises(httpx.RemoteProtocolError, match=text):
        await transport.send(post(upstream.url))


async def test_a_reset_before_the_headers_is_a_read_error(serve: Any, transport: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.reset()

    upstream = await serve(script)
    with pytest.raises(httpx.ReadError):
        await transport.send(post(upstream.url))


@pytest.mark.parametrize(("ending", "error"), [("close", httpx.RemoteProtocolError), ("reset", httpx.ReadError)])
@pytest.mark.parametrize("framing", ["chunked", "length"])
async def test_a_body_that_is_cut_is_an_error(
    serve: Any, transport: Any, ending: str, error: type[Exception], framing: str
) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        if framing == "chunked":
            peer.start_events()
            peer.send(b"10\r\nhalf")
        else:
            peer.respond(200, b"half", {"content-length": "10"})
        await has_half.wait()
        peer.close() if ending == "close" else peer.reset()

    has_half = asyncio.Event()
    upstream = await serve(script)
    response = await transport.send(post(upstream.url))
    pieces = aiter(response)
    assert await anext(pieces) == b"half"
    has_half.set()
    with pytest.raises(error):
        await anext(pieces)
    await response.aclose()


async def closes(peer: Any) -> None:
    async with asyncio.timeout(10):
        await peer.closed


async def turns() -> None:
    """Let the loop read what the loopback has delivered."""
    for _ in range(20):
        await asyncio.sleep(0)
