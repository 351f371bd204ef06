"""CreateMessage for so many tokens that upstream is asked to stream: to the caller it is the same call."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import grpc
import pytest

from claude_grpc.simulator import RawAnswer
from support.stack import Stack, create, drain, open_stack, stream, texts

MOST_IN_ONE_PIECE = 21_333
LONG = {"max_tokens": MOST_IN_ONE_PIECE + 1}

UNAVAILABLE, INTERNAL = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL


async def test_only_a_long_answer_is_streamed_by_upstream(stack: Stack) -> None:
    for max_tokens, streamed in ((MOST_IN_ONE_PIECE, None), (MOST_IN_ONE_PIECE + 1, True), (128_000, True)):
        answer = (await stack.messages.CreateMessage(create(max_tokens=max_tokens))).message
        assert "Why is the sky blue?" in texts(answer.content)
        assert json.loads(stack.simulator.requests[-1].body).get("stream") is streamed


@pytest.mark.parametrize(
    ("extra", "streamed"),
    [
        ('{"max_tokens":21334}', True),
        ('{ "x":"\\ud800", "max_tokens" : 1e400 }', True),
        ('{"max_tokens":21333}', None),
        ('{"max_tokens":"21334"}', None),
        ('{"max_tokens":null}', None),
    ],
)
async def test_so_it_is_when_the_number_stands_in_extra_json(stack: Stack, extra: str, streamed: bool | None) -> None:
    request = create(extra_json=extra)
    request.params.ClearField("max_tokens")
    stack.simulator.script(answer(START, STOP))
    await drain(stack.messages.CreateMessage(request))
    assert json.loads(stack.simulator.requests[-1].body).get("stream") is streamed


@pytest.mark.parametrize("extra", ["{", "[1]", "[" * 100_000])
async def test_an_extra_json_that_is_none_is_refused_as_ever(stack: Stack, extra: str) -> None:
    request = create(extra_json=extra)
    request.params.ClearField("max_tokens")
    ended = await drain(stack.messages.CreateMessage(request))
    assert ended.code is grpc.StatusCode.INVALID_ARGUMENT
    assert ended.violations.keys() >= {"params.extra_json"}


async def test_its_trailers_are_those_of_any_call(stack: Stack) -> None:
    short = (await drain(stack.messages.CreateMessage(create()))).trailers
    long = (await drain(stack.messages.CreateMessage(create(**LONG)))).trailers
    assert short.keys() == long.keys()
    assert long["request-id"] == stack.simulator.requests[-1].request_id


async def test_its_connection_serves_again(stack: Stack) -> None:
    for _ in range(3):
        await stack.messages.CreateMessage(create(**LONG))
    assert stack.simulator.open_connections == 1


ENDS = [
    ("cut at=5", UNAVAILABLE, "STREAM_INTERRUPTED"),
    ("reset at=5", UNAVAILABLE, "STREAM_INTERRUPTED"),
    ("truncate at=5", UNAVAILABLE, "STREAM_INTERRUPTED"),
    ("stall at=5", UNAVAILABLE, "UPSTREAM_TIMEOUT"),
    ("bad-json at=5", INTERNAL, "UPSTREAM_PROTOCOL"),
    ("error-event overloaded_error at=5", UNAVAILABLE, "OVERLOADED"),
    ("error-event rate_limit_error at=5", grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMIT"),
    ("error 529", UNAVAILABLE, "OVERLOADED"),
    ("error 400", grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
]


@pytest.mark.parametrize(("fault", "code", "reason"), ENDS, ids=[row[0] for row in ENDS])
async def test_a_failure_on_the_way_is_not_partial_for_nothing_has_reached_the_caller(
    fault: str, code: grpc.StatusCode, reason: str
) -> None:
    async with open_stack(read_timeout=0.3) as stack:
        stack.simulator.script(fault)
        ended = await drain(stack.messages.CreateMessage(create(**LONG)))
        assert (ended.code, ended.info.reason) == (code, reason)
        assert ended.info.metadata["partial"] == "false"
        assert ended.info.metadata["requestId"] == ended.trailers["request-id"] != ""


async def test_an_overload_on_the_way_is_safe_to_retry(stack: Stack) -> None:
    stack.simulator.script("error-event overloaded_error at=5")
    ended = await drain(stack.messages.CreateMessage(create(**LONG)))
    assert ended.info.metadata["safeToRetry"] == "true"
    assert ended.retry_seconds == 1.0


@pytest.mark.parametrize("phase", ["slow-headers", "stall at=5"])
@pytest.mark.parametrize("how", ["cancel", "deadline"])
async def test_a_caller_that_leaves_closes_the_socket_upstream(stack: Stack, how: str, phase: str) -> None:
    stack.simulator.script(phase)
    call = stack.messages.CreateMessage(create(**LONG), timeout=0.5 if how == "deadline" else None)
    reading = asyncio.create_task(drain(call))
    exchange = await stack.simulator.wait_request()
    if how == "cancel":
        call.cancel()
    await stack.simulator.wait_closed(exchange)
    assert exchange.closed_early
    if how == "cancel":
        with pytest.raises(asyncio.CancelledError):
            await reading
    else:
        assert (await reading).code is grpc.StatusCode.DEADLINE_EXCEEDED


def answer(*events: dict[str, Any]) -> RawAnswer:
    return RawAnswer(tuple(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events))


START = {"type": "message_start", "message": {"id": "m", "content": []}}
STOP = {"type": "message_stop"}


async def test_a_stream_that_never_began_is_no_answer(stack: Stack) -> None:
    stack.simulator.script(answer(STOP))
    ended = await drain(stack.messages.CreateMessage(create(**LONG)))
    assert (ended.code, ended.info.reason) == (INTERNAL, "UPSTREAM_PROTOCOL")
    assert ended.info.metadata["requestId"] == ended.trailers["request-id"] != ""


async def test_what_could_not_be_merged_is_told_in_a_trailer(stack: Stack) -> None:
    kinds = ["future_delta", "zukünftig\n", "x" * 300]
    deltas = [{"type": "content_block_delta", "index": 0, "delta": {"type": kind}} for kind in kinds]
    stack.simulator.script("[[unknown-delta]]", answer(START, *deltas, STOP))
    ended = await drain(stack.messages.CreateMessage(create(**LONG)))
    assert ended.code is grpc.StatusCode.OK
    assert ended.trailers["claude-grpc-unmerged-deltas"] == "future_delta"
    ended = await drain(stack.messages.CreateMessage(create(**LONG)))
    assert ended.trailers["claude-grpc-unmerged-deltas"] == f"future_delta,{'x' * 300},zuknftig"[:256]


@pytest.mark.parametrize(("final", "trailer"), [(True, "future_delta"), (False, None)])
async def test_a_stream_tells_it_where_it_sends_the_whole_message(
    stack: Stack, final: bool, trailer: str | None
) -> None:
    ended = await drain(stack.messages.StreamMessage(stream("[[unknown-delta]]", final=final)))
    assert ended.code is grpc.StatusCode.OK
    assert ended.trailers.get("claude-grpc-unmerged-deltas") == trailer
