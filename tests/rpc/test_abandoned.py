"""Calls whose caller leaves: ended at once, or read to their end for the record, as they asked."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import grpc
import pytest

from claude_grpc.v1.options_pb2 import DISCONNECT_POLICY_FINISH, CallOptions
from support.stack import Stack, create, drain, open_stack, stream

FINISH = CallOptions(on_disconnect=DISCONNECT_POLICY_FINISH)
LOGGER = "claude_grpc.rpc.abandoned"
TEXT = "one two three four five six seven eight"


def finishing(kind: str, text: str = TEXT) -> Any:
    request = stream(text) if kind == "StreamMessage" else create(text)
    request.call_options.CopyFrom(FINISH)
    return request


async def record(caplog: pytest.LogCaptureFixture) -> Any:
    while not (found := [record for record in caplog.records if record.name == LOGGER]):
        await asyncio.sleep(0.01)
    [one] = found
    return one


async def leave(stack: Stack, kind: str, how: str, text: str) -> None:
    """Call, and be gone once the request has reached upstream."""
    call = getattr(stack.messages, kind)(finishing(kind, text), timeout=0.3 if how == "deadline" else None)
    reading = asyncio.create_task(drain(call))
    exchange = await stack.simulator.wait_request()
    if how == "cancel":
        if kind == "StreamMessage" and "pace" in text:
            await call.initial_metadata()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    else:
        assert (await reading).code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert exchange.closed_at is None


@pytest.mark.parametrize("how", ["cancel", "deadline"])
@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("StreamMessage", f"[[slow-headers 0.5]] {TEXT}"),
        ("StreamMessage", f"[[pace 0.06]] {TEXT}"),
        ("CreateMessage", f"[[slow-headers 0.5]] {TEXT}"),
    ],
    ids=["stream before headers", "stream in the middle", "unary"],
)
@pytest.mark.parametrize("engine", ["aiohttp", "httpx"])
async def test_a_call_that_asked_for_it_is_read_to_its_end(
    engine: str, kind: str, text: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    async with open_stack(engine=engine) as stack:
        await leave(stack, kind, how, text)
        line = await record(caplog)
        [exchange] = stack.simulator.requests
        assert not (await stack.simulator.wait_closed(exchange)).closed_early
        assert (line.end, line.request_id) == ("OK", exchange.request_id)
        assert line.method == f"claude_grpc.v1.MessagesService/{kind}"
        assert line.usage == {name: count for name, count in stack.simulator.usage.items() if name in line.usage}
        assert {"input_tokens", "output_tokens"} <= line.usage.keys()
        assert line.model == "claude-opus-5-5"


async def test_how_it_ends_without_its_caller_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    async with open_stack(read_timeout=0.5) as stack:
        stack.simulator.script("stall at=1")
        call = stack.messages.StreamMessage(finishing("StreamMessage"))
        await call.read()
        call.cancel()
        line = await record(caplog)
        assert line.end == "UpstreamTimeoutError"
        assert line.usage["input_tokens"] > 0


@pytest.mark.parametrize("kind", ["StreamMessage", "CreateMessage"])
async def test_such_a_call_is_like_any_other_while_its_caller_stays(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    async with open_stack() as stack:
        plain = stream(TEXT) if kind == "StreamMessage" else create(TEXT)
        expected = await drain(getattr(stack.messages, kind)(plain))
        ended = await drain(getattr(stack.messages, kind)(finishing(kind)))
        assert ended.code is grpc.StatusCode.OK
        assert ended.events[-1] == expected.events[-1]
        assert ended.trailers["request-id"] != expected.trailers["request-id"]
        stack.simulator.script("error 529", "reset at=3")
        assert (await drain(getattr(stack.messages, kind)(finishing(kind)))).info.reason == "OVERLOADED"
        assert (await drain(getattr(stack.messages, kind)(finishing(kind)))).code is grpc.StatusCode.UNAVAILABLE
    assert not [line for line in caplog.records if line.name == LOGGER]


@pytest.mark.parametrize("kind", ["StreamMessage", "CreateMessage"])
async def test_beyond_the_limit_a_call_ends_with_its_caller(kind: str) -> None:
    async with open_stack(max_abandoned_calls=0) as stack:
        stack.simulator.script("stall at=1" if kind == "StreamMessage" else "slow-headers")
        call = getattr(stack.messages, kind)(finishing(kind))
        exchange = await stack.simulator.wait_request()
        if kind == "StreamMessage":
            await call.read()
        call.cancel()
        assert (await stack.simulator.wait_closed(exchange)).closed_early


@pytest.mark.parametrize("end", ["timeout", "drain", "stop"])
async def test_no_call_goes_on_for_ever(end: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    settings = {"timeout": {"abandoned_timeout": 0.2}, "drain": {"drain_grace": 0.2}, "stop": {}}[end]
    async with open_stack(**settings) as stack:
        stack.simulator.script("stall at=1")
        call = stack.messages.StreamMessage(finishing("StreamMessage"))
        await call.read()
        call.cancel()
        await asyncio.sleep(0.1)
        assert not stack.simulator.requests[0].closed_at
        if end == "drain":
            await stack.gateway.drain()
        if end != "stop":
            assert (await stack.simulator.wait_closed(stack.simulator.requests[0])).closed_early
    assert (await record(caplog)).end == "CANCELLED"


async def test_a_drain_waits_for_calls_without_a_caller(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    async with open_stack(drain_grace=30) as stack:
        await leave(stack, "CreateMessage", "cancel", f"[[slow-headers 0.5]] {TEXT}")
        await stack.gateway.drain()
        assert (await record(caplog)).end == "OK"
