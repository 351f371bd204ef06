"""What goes wrong on the way, and the error that each is; what is tried again, and what is not."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from claude_grpc.errors import (
    StreamInterruptedError,
    UpstreamConnectionError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)
from claude_grpc.upstream import (
    Endpoint,
    ServerSentEvent,
    Timeouts,
    UpstreamClient,
    UpstreamRequest,
    make_transport,
)

CREATE = UpstreamRequest(method="POST", path="/v1/messages", body=b"{}")
IMPATIENT = Timeouts(connect=5, read=0.1, write=5, pool=5)
OVERLOADED = json.dumps({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}).encode()
Script = Callable[[Any], Awaitable[None]]


async def call(client: UpstreamClient, kind: str, request: UpstreamRequest = CREATE) -> Any:
    if kind == "send":
        return await client.send(request)
    async with await client.stream(request) as stream:
        return [event async for events in stream for event in events]


async def closes(peer: Any) -> None:
    await peer.request()
    peer.close()


async def resets(peer: Any) -> None:
    await peer.request()
    peer.reset()


async def closes_within_the_headers(peer: Any) -> None:
    await peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-half")
    peer.close()


async def speaks_another_protocol(peer: Any) -> None:
    await peer.request()
    peer.send(b"220 mail.canary.example ESMTP\r\n\r\n")
    await peer.stall()


async def says_nothing(peer: Any) -> None:
    await peer.request()
    await peer.stall()


@pytest.mark.parametrize(
    ("script", "error", "phase", "attempts"),
    [
        (closes, UpstreamConnectionError, None, 3),
        (resets, UpstreamConnectionError, None, 3),
        (closes_within_the_headers, UpstreamConnectionError, None, 3),
        (speaks_another_protocol, UpstreamProtocolError, None, 1),
        (says_nothing, UpstreamTimeoutError, "read", 1),
    ],
)
@pytest.mark.parametrize("kind", ["send", "stream"])
async def test_a_fault_before_the_answer(
    *,
    serve: Any,
    connect: Any,
    waits: list[float],
    kind: str,
    script: Script,
    error: type[UpstreamError],
    phase: str | None,
    attempts: int,
) -> None:
    with pytest.raises(error) as caught:
        await call(connect(await serve(script), timeouts=IMPATIENT), kind)
    assert getattr(caught.value, "phase", None) == phase
    assert caught.value.context.attempts == attempts
    assert caught.value.context.request_id == ""
    assert waits == [0.5, 1.0][: attempts - 1]


async def test_a_refused_connection_is_tried_again(connect: Any, waits: list[float]) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        endpoint = Endpoint(f"http://127.0.0.1:{bound.getsockname()[1]}")
        with pytest.raises(UpstreamConnectionError, match="No connection to upstream could be made") as caught:
            await connect(None, endpoint=endpoint).send(CREATE)
    assert caught.value.context.attempts == 3
    assert waits == [0.5, 1.0]


async def test_a_connect_timeout_is_tried_again(serve: Any, connect: Any, waits: list[float]) -> None:
    async def script(peer: Any) -> None:
        await peer.stall()  # and never answers the TLS handshake

    upstream = await serve(script)
    client = connect(upstream, endpoint=Endpoint(f"https://{upstream.netloc}"), timeouts=Timeouts(connect=0.05))
    with pytest.raises(UpstreamTimeoutError) as caught:
        await client.send(CREATE)
    assert (caught.value.phase, caught.value.context.attempts, waits) == ("connect", 3, [0.5, 1.0])


async def test_a_pool_timeout_is_tried_again(serve: Any, connect: Any, engine: Any, waits: list[float]) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.start_events()
        peer.send_chunk(b"data: 1\n\n")
        await peer.stall()

    upstream = await serve(script)
    transport = make_transport(engine, max_connections=1)
    client = connect(upstream, transport=transport, timeouts=Timeouts(pool=0.05))
    async with await client.stream(CREATE):
        with pytest.raises(UpstreamTimeoutError) as caught:
            await client.send(CREATE)
    await transport.aclose()
    assert (caught.value.phase, caught.value.context.attempts, waits) == ("pool", 3, [0.5, 1.0])


async def test_a_write_timeout_is_tried_again(serve: Any, connect: Any, waits: list[float]) -> None:
    async def script(peer: Any) -> None:
        peer.transport.pause_reading()
        await asyncio.shield(gave_up.wait())
        peer.transport.resume_reading()
        await peer.stall()

    gave_up = asyncio.Event()
    upstream = await serve(script)
    request = UpstreamRequest(method="POST", path="/", body=bytes(32 * 1024 * 1024), max_retries=1)
    with pytest.raises(UpstreamTimeoutError) as caught:
        await connect(upstream, timeouts=Timeouts(write=0.1)).send(request)
    gave_up.set()
    assert (caught.value.phase, caught.value.context.attempts, waits) == ("write", 2, [0.5])


@pytest.mark.parametrize(
    ("status", "attempts"), [(400, 1), (401, 1), (404, 1), (408, 3), (409, 3), (429, 3), (500, 3), (503, 3), (529, 3)]
)
async def test_an_error_status_is_tried_again_as_the_policy_says(
    serve: Any, connect: Any, status: int, attempts: int
) -> None:
    async def script(peer: Any) -> None:
        while True:
            await peer.request()
            peer.respond(status, OVERLOADED, {"request-id": f"req_{next(numbers)}"})

    numbers = iter(range(1, 10))
    with pytest.raises(UpstreamStatusError) as caught:
        await connect(await serve(script)).send(CREATE)
    assert (caught.value.context.attempts, caught.value.context.request_id) == (attempts, f"req_{attempts}")


@pytest.mark.parametrize("kind", ["send", "stream"])
async def test_a_retry_that_succeeds_is_an_answer(serve: Any, connect: Any, waits: list[float], kind: str) -> None:
    async def script(peer: Any) -> None:
        while True:
            bodies.append((await peer.request()).body)
            if len(bodies) == 1:
                peer.respond(529, OVERLOADED, {"retry-after-ms": "1500"})
            elif len(bodies) == 2:
                peer.reset()
            elif kind == "send":
                peer.respond(200)
            else:
                peer.start_events()
                peer.send_chunk(b"data: 1\n\n")
                peer.end_chunks()

    bodies: list[bytes] = []
    answer = await call(connect(await serve(script)), kind)
    assert bodies == [b"{}"] * 3
    assert waits == [1.5, 1.0]
    assert kind == "stream" or answer.context.attempts == 3


@pytest.mark.parametrize(("own", "attempts"), [(0, 1), (1, 2), (4, 5)])
async def test_a_request_may_name_its_own_number_of_retries(serve: Any, connect: Any, own: int, attempts: int) -> None:
    async def script(peer: Any) -> None:
        while True:
            await peer.request()
            peer.respond(529, OVERLOADED)

    request = UpstreamRequest(method="POST", path="/", max_retries=own)
    with pytest.raises(UpstreamStatusError) as caught:
        await connect(await serve(script)).send(request)
    assert caught.value.context.attempts == attempts


@pytest.mark.parametrize("headers", [{"x-should-retry": "false"}, {"retry-after": "61"}])
async def test_upstream_can_ask_for_no_retry_and_the_caller_is_told(
    serve: Any, connect: Any, waits: list[float], headers: dict[str, str]
) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.respond(529, OVERLOADED, headers)
        await peer.stall()

    with pytest.raises(UpstreamStatusError) as caught:
        await connect(await serve(script)).send(CREATE)
    assert (waits, caught.value.context.headers) == ([], headers)


async def test_no_retry_is_waited_for_past_the_deadline(serve: Any, connect: Any, waits: list[float]) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.respond(529, OVERLOADED, {"retry-after": "10"})
        await peer.stall()

    client = connect(await serve(script), clock=lambda: 1000.0)
    with pytest.raises(UpstreamStatusError):
        await client.send(UpstreamRequest(method="POST", path="/", deadline=1010.0))
    assert waits == []


async def test_when_the_deadline_passed_in_the_wait_the_last_error_is_raised(serve: Any, connect: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.respond(529, OVERLOADED)
        await peer.stall()

    async def oversleep(seconds: float) -> None:
        now[0] += seconds + 9.45

    now = [1000.0]
    upstream = await serve(script)
    client = connect(upstream, clock=lambda: now[0], sleep=oversleep)
    with pytest.raises(UpstreamStatusError) as caught:
        await client.send(UpstreamRequest(method="POST", path="/", deadline=1010.0))
    assert caught.value.context.attempts == 1
    await upstream.peer()
    assert upstream.unseen() == 0


@pytest.mark.parametrize("ending", ["close", "reset", "stall"])
async def test_an_error_status_whose_body_fails_is_that_status(serve: Any, connect: Any, ending: str) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.respond(529, OVERLOADED[:20], {"content-length": "500", "request-id": "req_1"})
        if ending != "stall":
            peer.close() if ending == "close" else peer.reset()
        await peer.stall()

    request = UpstreamRequest(method="POST", path="/", max_retries=0)
    with pytest.raises((UpstreamStatusError, UpstreamConnectionError)) as caught:
        await connect(await serve(script), timeouts=IMPATIENT).send(request)
    # A reset may overtake the headers that were sent before it.
    if ending != "reset" or isinstance(caught.value, UpstreamStatusError):
        assert isinstance(caught.value, UpstreamStatusError)
        assert (caught.value.http_status, str(caught.value)) == (529, "Upstream answered with status 529.")
        assert caught.value.context.request_id == "req_1"


async def test_an_error_status_is_not_waited_for_longer_than_it_is_worth(
    serve: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.respond(400, b"half", {"content-length": "500"})
        await peer.stall()

    monkeypatch.setattr("claude_grpc.upstream.client._ERROR_BODY_SECONDS", 0.05)
    upstream = await serve(script)
    with pytest.raises(UpstreamStatusError):
        await connect(upstream).send(CREATE)
    async with asyncio.timeout(10):
        await (await upstream.peer()).closed


FIRST = b'event: message_start\ndata: {"type":"message_start"}\n\n'


@pytest.mark.parametrize(
    ("rest", "ending", "error"),
    [
        (b"0\r\n\r\n", "stall", None),
        (b"", "close", StreamInterruptedError),
        (b"", "reset", StreamInterruptedError),
        (b"40\r\nevent: ", "close", StreamInterruptedError),
        (b"40\r\nevent: ", "reset", StreamInterruptedError),
        (b"canary is no chunk\r\n", "stall", StreamInterruptedError),
        (b"", "stall", UpstreamTimeoutError),
        (b"9\r\ndata: \xff\n\n\r\n", "stall", UpstreamProtocolError),
        (b"1b\r\ndata: 012345678901234567890\r\n", "stall", UpstreamProtocolError),
    ],
)
async def test_a_stream_that_breaks_off_fails_after_its_events(
    serve: Any, connect: Any, rest: bytes, ending: str, error: type[UpstreamError] | None
) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.start_events({"request-id": "req_1"})
        peer.send_chunk(b"data: 1\n\n")
        await has_first.wait()
        peer.send(rest)
        if ending != "stall":
            peer.close() if ending == "close" else peer.reset()
        await peer.stall()

    has_first = asyncio.Event()
    upstream = await serve(script)
    client = connect(upstream, timeouts=IMPATIENT, max_event_bytes=25)
    async with await client.stream(CREATE) as stream:
        assert await anext(stream) == [ServerSentEvent("", b"1")]
        has_first.set()
        if error is None:
            assert [events async for events in stream] == []
        else:
            with pytest.raises(error) as caught:
                await anext(stream)
            assert caught.value.context is stream.context
            assert getattr(caught.value, "phase", "read") == "read"
    async with asyncio.timeout(10):
        peer = await upstream.peer()
        assert error is None or await peer.closed


async def test_an_invalid_event_fails_the_stream_without_waiting_for_more(serve: Any, connect: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.start_events()
        peer.send_chunk(b"data: 1\n\ndata: \xff\n\n")
        await peer.stall()

    async with await connect(await serve(script)).stream(CREATE) as stream:
        assert await anext(stream) == [ServerSentEvent("", b"1")]
        for _ in range(2):
            with pytest.raises(UpstreamProtocolError) as caught:
                await anext(stream)
            assert caught.value.context is stream.context


async def test_a_body_that_ends_with_its_connection_just_ends(serve: Any, connect: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nevent: a\ndata: 1\n\ndata: 2\n")
        peer.close()

    assert await call(connect(await serve(script)), "stream") == [ServerSentEvent("a", b"1"), ServerSentEvent("", b"2")]


@pytest.mark.parametrize(
    ("ending", "error"),
    [("close", StreamInterruptedError), ("reset", StreamInterruptedError), ("stall", UpstreamTimeoutError)],
)
async def test_a_unary_answer_that_breaks_off_is_not_asked_for_again(
    serve: Any, connect: Any, waits: list[float], ending: str, error: type[UpstreamError]
) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.respond(200, b'{"id":', {"content-length": "50", "request-id": "req_1"})
        if ending == "reset":
            # Only after the client has read its part can a reset not overtake it.
            await asyncio.sleep(0.05)
            peer.reset()
        if ending == "close":
            peer.close()
        await peer.stall()

    with pytest.raises(error) as caught:
        await connect(await serve(script), timeouts=IMPATIENT).send(CREATE)
    assert (caught.value.context.request_id, caught.value.context.attempts, waits) == ("req_1", 1, [])


@pytest.mark.parametrize("script", [closes, resets, closes_within_the_headers, speaks_another_protocol, says_nothing])
async def test_no_error_tells_what_an_exception_said(serve: Any, connect: Any, script: Script) -> None:
    upstream = await serve(script)
    with pytest.raises(UpstreamError) as caught:
        await connect(upstream, timeouts=IMPATIENT).send(CREATE)
    told = f"{caught.value!r} {caught.value} {caught.value.context!r}"
    assert caught.value.__cause__ is not None
    for canary in ("canary", upstream.netloc, str(caught.value.__cause__) or "no text"):
        assert canary not in told
