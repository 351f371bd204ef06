"""What the client sends, and what it makes of answers that are whole."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from claude_grpc.errors import InvalidRequestError, UpstreamProtocolError, UpstreamStatusError
from claude_grpc.upstream import Endpoint, ServerSentEvent, UpstreamClient, UpstreamRequest, UpstreamResponse

KEY = "canary-key-7f3a"
CREATE = UpstreamRequest(method="POST", path="/v1/messages", body=b'{"model":"m"}')
ANSWER_HEADERS = {
    "request-id": "req_1",
    "anthropic-organization-id": "org_1",
    "anthropic-ratelimit-requests-remaining": "49",
    "anthropic-ratelimit-tokens-reset": "2026-11-22T00:00:00Z",
    "retry-after": "7",
    "x-should-retry": "true",
    "server": "canary-server",
    "set-cookie": "a=b",
}
PASSED_ON = dict(list(ANSWER_HEADERS.items())[:6])


def error_body(kind: str, message: str, **details: Any) -> bytes:
    return json.dumps({"type": "error", "error": {"type": kind, "message": message, "details": details}}).encode()


def test_keys_and_contents_are_in_no_repr() -> None:
    shown = [
        Endpoint("https://a.example", api_key=KEY),
        Endpoint("https://a.example", auth_token=KEY),
        UpstreamRequest(method="POST", path="/", body=KEY.encode(), headers={"authorization": KEY}),
    ]
    for value in shown:
        assert KEY not in f"{value!r} {value!s}"


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "api.anthropic.com"},
        {"base_url": "ftp://api.anthropic.com"},
        {"base_url": "https://"},
        {"base_url": f"https://user:{KEY}@api.anthropic.com"},
        {"base_url": f"https://api.anthropic.com?key={KEY}"},
        {"base_url": f"https://api.anthropic.com#{KEY}"},
        {"api_key": KEY, "auth_token": KEY},
        {"api_key": ""},
        {"api_key": KEY + "\n"},
        {"auth_token": f"{KEY}\r\nx-two: b"},
        {"auth_token": KEY + "é"},
        {"anthropic_version": " 2026-10-21"},
    ],
)
def test_an_endpoint_that_cannot_be_is_refused_without_naming_its_key(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^\w[\w ]+") as caught:
        Endpoint(**{"base_url": "https://api.anthropic.com", **wrong})
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("credentials", "sent"),
    [
        ({"api_key": KEY}, {"x-api-key": KEY}),
        ({"auth_token": KEY}, {"authorization": f"Bearer {KEY}"}),
        ({}, {}),
        ({"api_key": KEY, "anthropic_version": "2023-06-01"}, {"x-api-key": KEY, "anthropic-version": "2023-06-01"}),
    ],
)
@pytest.mark.parametrize("path", ["", "/", "/gateway", "/gateway/"])
async def test_a_request_is_exactly_this(
    serve: Any, connect: Any, credentials: dict[str, str], sent: dict[str, str], path: str
) -> None:
    received = asyncio.get_running_loop().create_future()

    async def script(peer: Any) -> None:
        received.set_result(await peer.request())
        peer.respond(200)

    upstream = await serve(script)
    client = connect(upstream, endpoint=Endpoint(upstream.url + path, **credentials), user_agent="claude-grpc/1.0")
    await client.send(CREATE)
    request = await received
    assert request.line == f"POST {path.rstrip('/')}/v1/messages HTTP/1.1"
    assert request.body == CREATE.body
    assert dict(request.headers) == {
        "accept": "application/json",
        "accept-encoding": "identity",
        "anthropic-version": "2026-10-21",
        "content-length": "13",
        "content-type": "application/json",
        "host": upstream.netloc,
        "user-agent": "claude-grpc/1.0",
        **sent,
    }
    assert len(request.headers) == len(dict(request.headers))


async def test_the_headers_of_a_request_replace_the_clients_own(serve: Any, connect: Any) -> None:
    received = asyncio.get_running_loop().create_future()

    async def script(peer: Any) -> None:
        received.set_result(await peer.request())
        peer.respond(200)

    headers = {"anthropic-version": "2023-06-01", "anthropic-beta": "a-2026-01-01,b-2026-02-02"}
    upstream = await serve(script)
    await connect(upstream).send(UpstreamRequest(method="GET", path="/v1/models?limit=2", headers=headers))
    request = await received
    assert request.line == "GET /v1/models?limit=2 HTTP/1.1"
    assert headers.items() <= dict(request.headers).items()
    assert len(request.headers) == len(dict(request.headers))


@pytest.mark.parametrize("value", ["a\r\nx-two: b", "a\n", "", " a", "é", "\x00"])
async def test_a_header_that_cannot_be_sent_is_the_callers_fault(serve: Any, connect: Any, value: str) -> None:
    async def script(peer: Any) -> None:
        await peer.stall()

    upstream = await serve(script)
    request = UpstreamRequest(method="GET", path="/", headers={"anthropic-beta": value})
    with pytest.raises(InvalidRequestError) as caught:
        await connect(upstream).send(request)
    assert [violation.field for violation in caught.value.violations] == ["anthropic-beta"]
    assert upstream.unseen() == 0


async def test_send_returns_the_whole_answer_and_its_context(serve: Any, connect: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.respond(200, b'{"id": "msg_1"}', ANSWER_HEADERS)

    response: UpstreamResponse = await connect(await serve(script)).send(CREATE)
    assert (response.status, response.body) == (200, b'{"id": "msg_1"}')
    assert response.headers["server"] == "canary-server"
    assert (response.context.request_id, response.context.attempts) == ("req_1", 1)
    assert response.context.headers == PASSED_ON
    assert "msg_1" not in repr(response)


async def test_a_header_that_no_trailer_can_carry_is_not_passed_on(serve: Any, connect: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.respond(200, b"{}", {"request-id": "r\u00e9q", "anthropic-ratelimit-a": "1\x092", "retry-after": "3"})

    response = await connect(await serve(script)).send(CREATE)
    assert response.context.headers == {"retry-after": "3"}
    assert response.context.request_id == ""


async def test_stream_hands_out_what_each_read_brought(serve: Any, connect: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.start_events(ANSWER_HEADERS)
        peer.send_chunk(b"event: a\ndata: 1\n\nevent: b\ndata: 2\n\neve")
        await go_on.wait()
        for part in (b"nt: c\n", b": nothing yet\n", b"data: 3\n\nid: 4\n\n", b"data: 5"):
            peer.send_chunk(part)
        peer.end_chunks()

    go_on = asyncio.Event()
    upstream = await serve(script)
    async with await connect(upstream).stream(CREATE) as stream:
        assert (stream.context.request_id, stream.context.attempts) == ("req_1", 1)
        assert stream.context.headers == PASSED_ON
        assert await anext(stream) == [ServerSentEvent("a", b"1"), ServerSentEvent("b", b"2")]
        go_on.set()
        rest = [events async for events in stream]
        assert all(rest)
        assert [event for events in rest for event in events] == [ServerSentEvent("c", b"3"), ServerSentEvent("", b"5")]
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/html"},
        {"content-type": ""},
        {"content-type": "application/jsonl"},
        {"content-encoding": "gzip"},
    ],
)
@pytest.mark.parametrize("kind", ["send", "stream"])
async def test_an_answer_of_another_type_is_a_protocol_error(
    serve: Any, connect: Any, kind: str, headers: dict[str, str]
) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        if kind == "send":
            peer.respond(200, b"{}", {"request-id": "req_1", **headers})
        else:
            peer.start_events({"request-id": "req_1", **headers})
        await peer.stall()

    upstream = await serve(script)
    with pytest.raises(UpstreamProtocolError) as caught:
        await call(connect(upstream), kind)
    assert (caught.value.context.request_id, caught.value.context.attempts) == ("req_1", 1)


async def test_a_stream_for_send_and_json_for_stream_are_protocol_errors(serve: Any, connect: Any) -> None:
    async def script(peer: Any) -> None:
        request = await peer.request()
        peer.respond(200) if "stream" in request.line else peer.start_events()
        await peer.stall()

    client = connect(await serve(script))
    with pytest.raises(UpstreamProtocolError):
        await client.send(UpstreamRequest(method="POST", path="/send"))
    with pytest.raises(UpstreamProtocolError):
        async with await client.stream(UpstreamRequest(method="POST", path="/stream")):
            pass


@pytest.mark.parametrize(("limit", "whole"), [(10, True), (9, False)])
async def test_a_unary_answer_has_a_longest_length(serve: Any, connect: Any, limit: int, whole: bool) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.respond(200, b"0123456789", {"request-id": "req_1"})
        await peer.stall()

    client = connect(await serve(script), max_response_bytes=limit)
    if whole:
        assert (await client.send(CREATE)).body == b"0123456789"
        return
    with pytest.raises(UpstreamProtocolError, match="over 9 bytes") as caught:
        await client.send(CREATE)
    assert caught.value.context.request_id == "req_1"


async def test_an_answer_that_goes_on_for_ever_is_cut_off(serve: Any, connect: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.start_events({"content-type": "application/json"})
        while not peer.closed.done():
            peer.send_chunk(bytes(1000))
            await asyncio.sleep(0)

    upstream = await serve(script)
    with pytest.raises(UpstreamProtocolError):
        await connect(upstream, max_response_bytes=100_000).send(CREATE)
    async with asyncio.timeout(10):
        await (await upstream.peer()).closed


@pytest.mark.parametrize(
    ("status", "body", "message", "kind", "code"),
    [
        (400, error_body("invalid_request_error", "No."), "No.", "invalid_request_error", ""),
        (400, error_body("x", "No.", error_code="tool_name_conflict"), "No.", "x", "tool_name_conflict"),
        (404, error_body("not_found_error", ""), "Upstream answered with status 404.", "not_found_error", ""),
        (413, error_body("request_too_large", "é" * 600), "é" * 512, "request_too_large", ""),
        (400, rb'{"error":{"message":"half \ud83d."}}', "half ?.", "", ""),
        (400, b'{"error":{"message":5,"type":[],"details":7}}', "Upstream answered with status 400.", "", ""),
        (400, b'{"error":"canary"}', "Upstream answered with status 400.", "", ""),
        (400, b'["canary"]', "Upstream answered with status 400.", "", ""),
        (403, b"<html>canary</html>", "Upstream answered with status 403.", "", ""),
        (403, b"\xff\xfe", "Upstream answered with status 403.", "", ""),
        (403, b"[" * 50_000, "Upstream answered with status 403.", "", ""),
        (403, b'{"error":{"message":"' + b"x" * 70_000 + b'"}}', "Upstream answered with status 403.", "", ""),
        (404, b"", "Upstream answered with status 404.", "", ""),
        (307, b"", "Upstream answered with status 307.", "", ""),
    ],
)
@pytest.mark.parametrize("method", ["send", "stream"])
async def test_an_error_response_is_a_status_error(
    *, serve: Any, connect: Any, method: str, status: int, body: bytes, message: str, kind: str, code: str
) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.respond(status, body, ANSWER_HEADERS | {"x-should-retry": "false"})
        await peer.stall()

    upstream = await serve(script)
    with pytest.raises(UpstreamStatusError) as caught:
        await call(connect(upstream), method)
    error = caught.value
    assert (str(error), error.http_status, error.error_type, error.error_code) == (message, status, kind, code)
    assert (error.context.request_id, error.context.attempts) == ("req_1", 1)
    assert error.context.headers == PASSED_ON | {"x-should-retry": "false"}


async def test_errors_and_answers_leave_the_connection_for_the_next_request(serve: Any, connect: Any) -> None:
    async def script(peer: Any) -> None:
        while True:
            request = await peer.request()
            if "error" in request.line:
                peer.respond(400, error_body("invalid_request_error", "No."))
            elif "stream" in request.line:
                peer.start_events()
                peer.send_chunk(b"data: 1\n\n")
                peer.end_chunks()
            else:
                peer.respond(200)

    upstream = await serve(script)
    client = connect(upstream)
    for _ in range(2):
        await client.send(CREATE)
        with pytest.raises(UpstreamStatusError):
            await client.send(UpstreamRequest(method="POST", path="/error"))
        async with await client.stream(UpstreamRequest(method="POST", path="/stream")) as stream:
            assert [event.data async for events in stream for event in events] == [b"1"]
    await upstream.peer()
    assert upstream.unseen() == 0


@pytest.mark.parametrize(("finishes", "connections"), [(True, 1), (False, 2)])
async def test_a_stream_finished_after_its_last_event_leaves_its_connection_for_the_next(
    serve: Any, connect: Any, finishes: bool, connections: int
) -> None:
    async def script(peer: Any) -> None:
        while True:
            await peer.request()
            peer.start_events()
            peer.send_chunk(b"event: message_stop\ndata: {}\n\n")
            await read.wait()
            read.clear()
            peer.send_chunk(b": bye\n\n")
            peer.end_chunks()

    read = asyncio.Event()
    upstream = await serve(script)
    client = connect(upstream)
    for _ in range(2):
        async with await client.stream(CREATE) as stream:
            assert len(await anext(stream)) == 1
            if finishes:
                read.set()
                await stream.finish()
                await stream.finish()
    for _ in range(connections):
        await upstream.peer()
    assert upstream.unseen() == 0


@pytest.mark.parametrize("ending", ["stall", "chatter", "reset"])
async def test_finish_does_not_wait_for_a_stream_that_does_not_end(serve: Any, connect: Any, ending: str) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.start_events()
        peer.send_chunk(b"event: message_stop\ndata: {}\n\n")
        await finishing.wait()
        if ending == "reset":
            peer.reset()
        while ending == "chatter" and not peer.closed.done():
            peer.send_chunk(b"event: ping\ndata: {}\n\n")
            await asyncio.sleep(0.01)
        await peer.stall()

    finishing = asyncio.Event()
    upstream = await serve(script)
    async with await connect(upstream).stream(CREATE) as stream:
        assert len(await anext(stream)) == 1
        finishing.set()
        async with asyncio.timeout(5):
            await stream.finish()
    async with asyncio.timeout(10):
        await (await upstream.peer()).closed


async def test_aclose_closes_the_transport(serve: Any, connect: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        peer.respond(200)
        await peer.stall()

    upstream = await serve(script)
    client = connect(upstream)
    await client.send(CREATE)
    await client.aclose()
    async with asyncio.timeout(10):
        await (await upstream.peer()).closed


async def call(client: UpstreamClient, kind: str) -> None:
    if kind == "send":
        await client.send(CREATE)
        return
    async with await client.stream(CREATE) as stream:
        async for _ in stream:
            pass
