"""A stream whose deltas may be gathered for a while: the same answer in fewer messages, and every end as without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from claude_grpc.codec import Decoder, MessageAccumulator
from claude_grpc.rpc.relay import joined
from claude_grpc.upstream import SSEDecoder
from claude_grpc.v1.messages_pb2 import StreamMessageRequest, StreamMessageResponse
from claude_grpc.v1.messages_pb2_grpc import MessagesServiceStub
from support.properties import run_seeded
from support.raw_upstream import Peer, Serve, raw_upstreams
from support.stack import drain, gateway_before, open_stack, stream

RECORDED = sorted((Path(__file__).parents[1] / "golden" / "streams").glob("*.sse"))
WINDOW = Duration(seconds=1)
PAUSE = 0.03
START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","content":[]}}\n\n'
    b"event: content_block_start\ndata: "
    b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'
)
END = (
    b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)

_decoder = Decoder(StreamMessageResponse)


def delta(text: str) -> bytes:
    data = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%s"}}' % text.encode()
    return b"event: content_block_delta\ndata: " + data + b"\n\n"


def windowed(window: Duration = WINDOW, text: str = "hello") -> StreamMessageRequest:
    request = stream(text, final=True)
    request.stream_options.window.CopyFrom(window)
    return request


def texts(events: list[StreamMessageResponse]) -> list[str]:
    return [event.content_block_delta.delta.text_delta.text for event in events if event.type == "content_block_delta"]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with raw_upstreams() as start:
        yield start


async def send_in_turn(peer: Peer, *pieces: bytes) -> None:
    """Answer with pieces that reach the gateway each on its own."""
    await peer.request()
    peer.start_events({"request-id": "req_1"})
    for piece in pieces:
        peer.send_chunk(piece)
        await asyncio.sleep(PAUSE)


def all_others(events: list[StreamMessageResponse]) -> list[StreamMessageResponse]:
    return [event for event in events if event.type != "content_block_delta"]


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_joined_deltas_come_to_the_same_message_however_they_were_gathered(path: Path) -> None:
    data = path.read_bytes()
    exact = [_decoder.decode(event.data) for event in SSEDecoder().feed(data)]

    def holds(random: Random) -> None:
        decoder, gathered = SSEDecoder(), list[StreamMessageResponse]()
        cuts = sorted({0, len(data), *(random.randrange(len(data)) for _ in range(random.randrange(20)))})
        for start, end in pairwise(cuts):
            gathered += joined(_decoder.decode(event.data) for event in decoder.feed(data[start:end]))
        assert whole(gathered) == whole(exact)
        assert all_others(gathered) == all_others(exact)
        assert len(gathered) <= len(exact)

    run_seeded(holds)


def whole(events: list[StreamMessageResponse]) -> Any:
    accumulator = MessageAccumulator()
    for event in events:
        accumulator.add(event)
    return accumulator.message


@pytest.mark.parametrize(
    ("window", "exact"),
    [
        (Duration(), False),
        (Duration(seconds=-1), False),
        (Duration(seconds=1, nanos=1), False),
        (Duration(nanos=20_000_000), True),
    ],
)
async def test_a_window_that_makes_no_sense_is_refused(window: Duration, exact: bool) -> None:
    async with open_stack() as stack:
        request = windowed(window)
        request.stream_options.exact_events = exact
        ended = await drain(stack.messages.StreamMessage(request))
        assert ended.code is grpc.StatusCode.INVALID_ARGUMENT
        assert list(ended.violations) == ["stream_options.window"]


@pytest.mark.parametrize("engine", ["aiohttp", "httpx"])
async def test_a_windowed_stream_comes_to_the_same_message(engine: str) -> None:
    async with open_stack(engine=engine) as stack:
        ends = [
            await drain(stack.messages.StreamMessage(request))
            for request in (
                stream("[[pace 0.005]] hello", final=True),
                windowed(Duration(nanos=20_000_000), "[[pace 0.005]] hello"),
            )
        ]
        exact, gathered = (ended.events for ended in ends)
        assert [ended.code for ended in ends] == [grpc.StatusCode.OK] * 2
        assert "".join(texts(gathered)) == "".join(texts(exact)) != ""
        assert gathered[-1].message_stop.message.content == exact[-1].message_stop.message.content
        if engine == "aiohttp":
            assert len(gathered) < len(exact)


Script = Callable[[Peer], Any]


async def call(serve: Serve, script: Script, request: StreamMessageRequest) -> Any:
    upstream = await serve(script)
    async with gateway_before(upstream.url) as (_, channel):
        return await drain(MessagesServiceStub(channel).StreamMessage(request))


async def test_deltas_of_a_window_come_as_one_and_its_end_waits_for_nothing(serve: Serve) -> None:
    async def script(peer: Peer) -> None:
        await send_in_turn(peer, START, delta("a"), delta("b"), delta("c"), END)
        peer.end_chunks()
        await peer.stall()

    ended = await call(serve, script, windowed())
    assert texts(ended.events) == ["a", "bc"]
    assert ended.events[-1].message_stop.message.content[0].text.text == "abc"


async def test_what_is_held_when_upstream_breaks_comes_before_the_error(serve: Serve) -> None:
    async def script(peer: Peer) -> None:
        await send_in_turn(peer, START, delta("a"), delta("b"))
        peer.close()

    ended = await call(serve, script, windowed())
    assert (ended.code, ended.info.reason) == (grpc.StatusCode.UNAVAILABLE, "STREAM_INTERRUPTED")
    assert "".join(texts(ended.events)) == "ab"


async def test_what_is_held_when_upstream_sends_an_error_comes_before_it(serve: Serve) -> None:
    async def script(peer: Peer) -> None:
        error = b'{"type":"error","error":{"type":"overloaded_error","message":"no"}}'
        await send_in_turn(peer, START, delta("a"), delta("b"), b"event: error\ndata: " + error + b"\n\n")
        await peer.stall()

    ended = await call(serve, script, windowed())
    assert ended.info.reason == "OVERLOADED"
    assert texts(ended.events) == ["a", "b"]


async def test_a_delta_that_is_held_comes_without_another_event(serve: Serve) -> None:
    async def script(peer: Peer) -> None:
        await send_in_turn(peer, START, delta("a"), delta("b"))
        await peer.stall()

    upstream = await serve(script)
    async with gateway_before(upstream.url) as (_, channel):
        calling = MessagesServiceStub(channel).StreamMessage(windowed(Duration(nanos=50_000_000)))
        assert texts([await calling.read() for _ in range(4)]) == ["a", "b"]
        calling.cancel()


async def test_a_cancel_closes_upstream_at_once_though_something_is_held(serve: Serve) -> None:
    held = asyncio.Event()

    async def script(peer: Peer) -> None:
        await send_in_turn(peer, START, delta("a"), delta("b"))
        held.set()
        await peer.stall()

    upstream = await serve(script)
    async with gateway_before(upstream.url) as (_, channel):
        calling = MessagesServiceStub(channel).StreamMessage(windowed())
        peer = await upstream.peer()
        await held.wait()
        calling.cancel()
        await peer.closed


async def test_a_connection_serves_again_after_a_windowed_stream(serve: Serve) -> None:
    async def script(peer: Peer) -> None:
        for _ in range(2):
            await send_in_turn(peer, START, delta("a"), delta("b"), END)
            peer.end_chunks()
        await peer.stall()

    upstream = await serve(script)
    async with gateway_before(upstream.url) as (_, channel):
        stub: Any = MessagesServiceStub(channel)
        assert texts((await drain(stub.StreamMessage(windowed()))).events) == ["a", "b"]
        assert "".join(texts((await drain(stub.StreamMessage(stream()))).events)) == "ab"
    await upstream.peer()
    assert upstream.unseen() == 0


async def test_a_read_timeout_that_is_shorter_than_a_window_counts_what_is_held(serve: Serve) -> None:
    async def script(peer: Peer) -> None:
        # All in all longer than the timeout, and within one window.
        await send_in_turn(peer, START, *(delta(str(number)) for number in range(10)), END)
        peer.end_chunks()
        await peer.stall()

    request = windowed()
    request.call_options.read_timeout.FromMilliseconds(250)
    ended = await call(serve, script, request)
    assert ended.code is grpc.StatusCode.OK
