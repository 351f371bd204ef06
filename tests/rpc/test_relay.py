"""The relay: joined deltas, pings on silent streams, and that a slow reader is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from claude_grpc.errors import UpstreamProtocolError
from claude_grpc.rpc.call import Call
from claude_grpc.rpc.relay import Relay, joined
from claude_grpc.simulator import RawAnswer
from claude_grpc.v1.messages_pb2 import (
    BlockDelta,
    ContentBlockDelta,
    ContentBlockStop,
    InputJsonDelta,
    Ping,
    SignatureDelta,
    StreamMessageResponse,
    TextDelta,
    ThinkingDelta,
)
from support.stack import drain, open_stack, stream

PING = StreamMessageResponse(type="ping", ping=Ping())


def delta(index: int = 0, **arm: Any) -> StreamMessageResponse:
    return StreamMessageResponse(content_block_delta=ContentBlockDelta(index=index, delta=BlockDelta(**arm)))


def text(value: str, index: int = 0) -> StreamMessageResponse:
    return delta(index, text_delta=TextDelta(text=value))


def stop(index: int = 0) -> StreamMessageResponse:
    return StreamMessageResponse(content_block_stop=ContentBlockStop(index=index))


def thinking(value: str) -> StreamMessageResponse:
    return delta(thinking_delta=ThinkingDelta(thinking=value))


def tool(value: str) -> StreamMessageResponse:
    return delta(input_json_delta=InputJsonDelta(partial_json=value))


def signature(value: str) -> StreamMessageResponse:
    return delta(signature_delta=SignatureDelta(signature=value))


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], []),
        ([text("a")], [text("a")]),
        ([text("a"), text("b"), text("c")], [text("abc")]),
        ([thinking("a"), thinking("b")], [thinking("ab")]),
        ([tool('{"a'), tool('":1}')], [tool('{"a":1}')]),
        # another block, another kind, anything in between
        ([text("a"), text("b", 1)], [text("a"), text("b", 1)]),
        ([text("a"), thinking("b"), thinking("c")], [text("a"), thinking("bc")]),
        ([text("a"), stop(), text("b", 1), text("c", 1)], [text("a"), stop(), text("bc", 1)]),
        ([text("a"), PING, text("b")], [text("a"), PING, text("b")]),
        # signatures replace, they are not appended
        ([signature("a"), signature("b")], [signature("a"), signature("b")]),
        # what is not known is nothing to be joined
        ([delta(opaque_json="{}"), delta(opaque_json="{}")], [delta(opaque_json="{}"), delta(opaque_json="{}")]),
        (
            [text("a"), delta(text_delta=TextDelta(text="b", extra_json='{"x":1}')), text("c")],
            [text("a"), delta(text_delta=TextDelta(text="b", extra_json='{"x":1}')), text("c")],
        ),
    ],
)
def test_deltas_of_one_block_and_kind_are_joined_and_nothing_else(
    messages: list[StreamMessageResponse], expected: list[StreamMessageResponse]
) -> None:
    assert list(joined(messages)) == expected


def test_what_came_before_an_error_comes_out_before_it() -> None:
    def failing() -> Iterator[StreamMessageResponse]:
        yield text("a")
        yield text("b")
        raise UpstreamProtocolError("bad")

    messages = joined(failing())
    assert next(messages) == text("ab")
    with pytest.raises(UpstreamProtocolError):
        next(messages)


class Caller:
    """Takes messages as fast as it is told to."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.writing = 0
        self.reads = asyncio.Event()
        self.reads.set()

    async def write(self, message: Any) -> None:
        self.writing += 1
        assert self.writing == 1, "gRPC takes one message at a time"
        await self.reads.wait()
        await asyncio.sleep(0)
        self.writing -= 1
        self.taken.append(message)


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.005)


async def test_a_silent_stream_is_pinged_once_it_has_begun() -> None:
    caller, call = Caller(), Call("service/Method")
    async with Relay(call, caller.write, 0.05) as relay:
        await relay.write(text("a"))
        await asyncio.sleep(0.1)
        assert caller.taken == [text("a")]
        call.keepalive = PING
        await relay.write(text("b"))
        await until(lambda: len(caller.taken) >= 4)
        assert caller.taken[2:4] == [PING, PING]
        assert call.partial


async def test_a_stream_that_is_not_silent_is_not_pinged() -> None:
    caller, call = Caller(), Call("service/Method", keepalive=PING)
    async with Relay(call, caller.write, 0.2) as relay:
        for _ in range(20):
            await relay.write(text("a"))
            await asyncio.sleep(0.02)
    assert PING not in caller.taken


async def test_a_message_waits_for_the_ping_that_is_on_its_way() -> None:
    caller, call = Caller(), Call("service/Method", keepalive=PING)
    async with Relay(call, caller.write, 0.02) as relay:
        await relay.write(text("a"))
        caller.reads.clear()
        await until(lambda: caller.writing)
        writing = asyncio.create_task(relay.write(text("b")))
        await asyncio.sleep(0.1)
        caller.reads.set()
        await writing
    assert caller.taken == [text("a"), PING, text("b")]


async def test_a_slow_reader_is_not_pinged_on_top() -> None:
    caller, call = Caller(), Call("service/Method", keepalive=PING)
    async with Relay(call, caller.write, 0.02) as relay:
        await relay.write(text("a"))
        caller.reads.clear()
        writing = asyncio.create_task(relay.write(text("b")))
        await asyncio.sleep(0.1)
        caller.reads.set()
        await writing
    assert caller.taken == [text("a"), text("b")]


async def test_a_stream_that_ends_while_a_ping_is_stuck_ends() -> None:
    caller, call = Caller(), Call("service/Method", keepalive=PING)
    async with Relay(call, caller.write, 0.02) as relay:
        await relay.write(text("a"))
        caller.reads.clear()
        await until(lambda: caller.writing)
    assert caller.taken == [text("a")]


async def test_a_ping_that_fails_fails_the_stream() -> None:
    async def write(message: Any) -> None:
        if message is PING:
            raise ConnectionError("gone")

    async with Relay(Call("service/Method", keepalive=PING), write, 0.02) as relay:
        await relay.write(text("a"))
        await asyncio.sleep(0.05)
        with pytest.raises(ConnectionError):
            await relay.write(text("b"))


async def test_silence_upstream_is_filled_with_pings_after_message_start() -> None:
    async with open_stack(ping_interval=0.1) as stack:
        stack.simulator.script("stall at=1")
        call = stack.messages.StreamMessage(stream())
        events = [(await call.read()).type for _ in range(4)]
        assert events == ["message_start", "ping", "ping", "ping"]
        call.cancel()


DELTAS = 50
EVENTS = [
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","content":[]}}\n\n',
    b'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n',
    *(
        b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%d,"}}\n\n' % number
        for number in range(DELTAS)
    ),
    b'data: {"type":"content_block_stop","index":0}\n\n',
    b'data: {"type":"message_stop"}\n\n',
]
TEXT = "".join(f"{number}," for number in range(DELTAS))


@pytest.mark.parametrize("exact", [True, False])
async def test_what_came_together_may_be_joined_unless_the_caller_wants_it_exact(exact: bool) -> None:
    async with open_stack() as stack:
        stack.simulator.script(RawAnswer((b"".join(EVENTS),)))
        request = stream(final=True)
        request.stream_options.exact_events = exact
        ended = await drain(stack.messages.StreamMessage(request))
        assert ended.code is grpc.StatusCode.OK
        deltas = [event.content_block_delta for event in ended.events if event.HasField("content_block_delta")]
        assert "".join(delta.delta.text_delta.text for delta in deltas) == TEXT
        assert ended.events[-1].message_stop.message.content[0].text.text == TEXT
        assert len(deltas) == DELTAS if exact else len(deltas) < DELTAS
        kinds = [event.type for event in ended.events if event.type != "content_block_delta"]
        assert kinds == ["message_start", "content_block_start", "content_block_stop", "message_stop"]


async def test_deltas_that_come_one_by_one_leave_one_by_one() -> None:
    async with open_stack() as stack:
        ended = await drain(stack.messages.StreamMessage(stream("[[pace 0.01]] hello")))
        exact = stream("[[pace 0.01]] hello")
        exact.stream_options.exact_events = True
        assert ended.types == (await drain(stack.messages.StreamMessage(exact))).types
