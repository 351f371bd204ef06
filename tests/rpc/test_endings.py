"""However upstream ends before `message_stop`, the call is never OK, and tells what is known."""

from __future__ import annotations

import asyncio
import time

import grpc
import pytest

from claude_grpc.simulator import RawAnswer
from support.stack import Stack, create, drain, open_stack, stream

UNAVAILABLE, INTERNAL = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL

CUTS = [
    ("cut at=5", UNAVAILABLE, "STREAM_INTERRUPTED"),
    ("reset at=5", UNAVAILABLE, "STREAM_INTERRUPTED"),
    ("truncate at=5", UNAVAILABLE, "STREAM_INTERRUPTED"),
    ("stall at=5", UNAVAILABLE, "UPSTREAM_TIMEOUT"),
    ("bad-json at=5", INTERNAL, "UPSTREAM_PROTOCOL"),
    ("error-event overloaded_error at=5", UNAVAILABLE, "OVERLOADED"),
    ("error-event api_error at=5", INTERNAL, "API_ERROR"),
    ("error-event rate_limit_error at=5", grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMIT"),
]


@pytest.mark.parametrize("engine", ["aiohttp", "httpx"])
@pytest.mark.parametrize(("fault", "code", "reason"), CUTS, ids=[row[0] for row in CUTS])
async def test_an_end_before_message_stop_is_an_error(
    engine: str, fault: str, code: grpc.StatusCode, reason: str
) -> None:
    async with open_stack(engine=engine, read_timeout=0.3) as stack:
        stack.simulator.script(fault)
        ended = await drain(stack.messages.StreamMessage(stream()))
        assert (ended.code, ended.info.reason) == (code, reason)
        assert ended.types[:1] == ["message_start"]
        assert "message_stop" not in ended.types
        assert ended.info.metadata["partial"] == "true"
        assert ended.info.metadata["safeToRetry"] == "false"
        assert ended.info.metadata["requestId"] == ended.trailers["request-id"] != ""
        assert ended.trailers["grpc-retry-pushback-ms"] == "-1"


@pytest.mark.parametrize("fault", ["cut at=0", "reset at=0", "error-event at=0"])
async def test_an_end_before_the_first_event_is_not_partial(stack: Stack, fault: str) -> None:
    stack.simulator.script(fault)
    ended = await drain(stack.messages.StreamMessage(stream()))
    assert ended.code is UNAVAILABLE
    assert not ended.events
    assert ended.info.metadata["partial"] == "false"


@pytest.mark.parametrize("fault", ["cut at=1", "reset at=1", "truncate at=1", "bad-json at=0"])
async def test_a_unary_answer_that_is_not_whole_is_an_error(stack: Stack, fault: str) -> None:
    stack.simulator.script(fault)
    ended = await drain(stack.messages.CreateMessage(create()))
    assert ended.code in {UNAVAILABLE, INTERNAL}
    assert ended.info.metadata["requestId"].startswith("req_")


WHOLE = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","content":[]}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)


async def test_every_cut_of_a_stream_is_an_error_until_message_stop_is_whole(stack: Stack) -> None:
    whole_at = len(WHOLE) - len(b"\n\n")  # the last blank line may be missing
    for size in range(len(WHOLE) + 1):
        stack.simulator.script(RawAnswer((WHOLE[:size],) if size else ()))
        ended = await drain(stack.messages.StreamMessage(stream()))
        assert (ended.code is grpc.StatusCode.OK) == (size >= whole_at), size


@pytest.mark.parametrize("engine", ["aiohttp", "httpx"])
async def test_a_silent_upstream_times_out_before_its_headers(engine: str) -> None:
    async with open_stack(engine=engine, read_timeout=0.2) as stack:
        stack.simulator.script("slow-headers", "slow-headers")
        for call in (stack.messages.CreateMessage(create()), stack.messages.StreamMessage(stream())):
            ended = await drain(call)
            assert (ended.code, ended.info.reason) == (UNAVAILABLE, "UPSTREAM_TIMEOUT")
            assert ended.trailers["grpc-retry-pushback-ms"] == "-1"


async def test_an_upstream_that_is_not_there_is_unavailable() -> None:
    async with open_stack(ANTHROPIC_BASE_URL="http://127.0.0.1:1") as stack:
        ended = await drain(stack.messages.StreamMessage(stream()))
        assert (ended.code, ended.info.reason) == (UNAVAILABLE, "UPSTREAM_UNAVAILABLE")
        assert ended.info.metadata["safeToRetry"] == "true"
        assert ended.retry_seconds == 1.0


async def test_opening_is_retried_and_the_caller_is_told_how_often() -> None:
    async with open_stack(max_retries=2) as stack:
        stack.simulator.script("error 529 retry-after-ms=1", "error 500 retry-after-ms=1")
        ended = await drain(stack.messages.StreamMessage(stream()))
        assert ended.code is grpc.StatusCode.OK
        assert ended.trailers["claude-grpc-attempts"] == "3"


async def test_an_open_stream_is_never_retried() -> None:
    async with open_stack(max_retries=2) as stack:
        stack.simulator.script("reset at=5")
        assert (await drain(stack.messages.StreamMessage(stream()))).code is UNAVAILABLE
        assert len(stack.simulator.requests) == 1


PHASES = ["slow-headers", "stall at=0", "stall at=5"]


@pytest.mark.parametrize("engine", ["aiohttp", "httpx"])
@pytest.mark.parametrize("how", ["cancel", "deadline"])
@pytest.mark.parametrize("kind", ["stream", "unary"])
@pytest.mark.parametrize("phase", PHASES)
async def test_a_caller_that_leaves_closes_the_socket_upstream(engine: str, how: str, kind: str, phase: str) -> None:
    async with open_stack(engine=engine) as stack:
        stack.simulator.script(phase)
        timeout = 0.5 if how == "deadline" else None
        left_at = time.monotonic() + 0.5
        if kind == "stream":
            call = stack.messages.StreamMessage(stream(), timeout=timeout)
        else:
            call = stack.messages.CreateMessage(create(), timeout=timeout)
        reading = asyncio.create_task(drain(call))
        exchange = await stack.simulator.wait_request()
        if how == "cancel":
            if phase == "stall at=5" and kind == "stream":
                await call.initial_metadata()
            left_at = time.monotonic()
            call.cancel()
        await stack.simulator.wait_closed(exchange)
        assert exchange.closed_early
        # The promise is 100 ms; a machine that does ten things at once may need a little longer.
        assert exchange.closed_at is not None
        assert exchange.closed_at - left_at < 1.0
        if how == "cancel":
            with pytest.raises(asyncio.CancelledError):
                await reading
        else:
            assert (await reading).code is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("how", ["cancel", "deadline"])
async def test_a_caller_that_leaves_while_queued_for_a_connection_never_reaches_upstream(how: str) -> None:
    async with open_stack(max_connections=1) as stack:
        stack.simulator.script("stall at=2")
        first = stack.messages.StreamMessage(stream())
        await stack.simulator.wait_request()
        queued = stack.messages.CreateMessage(create(), timeout=0.3 if how == "deadline" else None)
        reading = asyncio.create_task(drain(queued))
        if how == "cancel":
            await asyncio.sleep(0)
            queued.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        else:
            assert (await reading).code is grpc.StatusCode.DEADLINE_EXCEEDED
        first.cancel()
        await stack.simulator.wait_closed(stack.simulator.requests[0])
        assert (await drain(stack.messages.CreateMessage(create()))).code is grpc.StatusCode.OK
        assert len(stack.simulator.requests) == 2


async def test_a_caller_that_leaves_during_a_backoff_causes_no_further_attempt() -> None:
    async with open_stack(max_retries=2) as stack:
        stack.simulator.script("error 529 retry-after=30")
        call = stack.messages.CreateMessage(create())
        reading = asyncio.create_task(drain(call))
        await stack.simulator.wait_closed(await stack.simulator.wait_request())
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert (await drain(stack.messages.CreateMessage(create()))).code is grpc.StatusCode.OK
        assert len(stack.simulator.requests) == 2
