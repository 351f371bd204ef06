"""When a call's time is up, and when its timeouts are."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from claude_grpc.errors import (
    DeadlineExceededError,
    UpstreamContext,
    UpstreamTimeoutError,
)
from claude_grpc.upstream import BreakerPolicy, RetryBudget, RetryPolicy, Timeouts
from claude_grpc.upstream.attempts import Attempts, Guard
from claude_grpc.upstream.breakers import Breakers
from claude_grpc.upstream.ends import why_it_ended
from support.openings import EVENT, asking, error_event, read, refuses, scripted, sends


async def stalls(peer: Any) -> None:
    await peer.request()
    await peer.stall()


async def stalls_after_headers(peer: Any) -> None:
    await peer.request()
    peer.respond(200, b"half", {"content-length": "500"})
    await peer.stall()


async def stalls_before_the_first_event(peer: Any) -> None:
    await peer.request()
    peer.start_events()
    await peer.stall()


async def stalls_within_a_stream(peer: Any) -> None:
    await peer.request()
    peer.start_events({"request-id": "req_1"})
    peer.send_chunk(EVENT)
    await peer.stall()


async def sends_without_end(peer: Any) -> None:
    await peer.request()
    peer.start_events()
    while not peer.closed.done():
        peer.send_chunk(EVENT)
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (stalls, "send"),
        (stalls, "stream"),
        (stalls_after_headers, "send"),
        (stalls_before_the_first_event, "stream"),
        (stalls_within_a_stream, "stream"),
        (sends_without_end, "stream"),
    ],
)
async def test_when_the_time_is_up_the_call_ends_and_its_connection_closes(
    serve: Any, connect: Any, script: Any, kind: str
) -> None:
    upstream = await serve(script)
    client = connect(upstream, clock=lambda: 1000.0)
    request = asking(deadline=1000.2)
    with pytest.raises(DeadlineExceededError) as caught:
        await (client.send(request) if kind == "send" else read(client, request))
    assert caught.value.context.attempts == 1
    async with asyncio.timeout(10):
        await (await upstream.peer()).closed


async def test_the_time_in_which_nobody_reads_counts(serve: Any, connect: Any) -> None:
    client = connect(await serve(sends_without_end), clock=lambda: 1000.0)
    async with await client.stream(asking(deadline=1000.2)) as stream:
        await anext(stream)
        await asyncio.sleep(0.3)
        with pytest.raises(DeadlineExceededError) as caught:
            await anext(stream)
    assert caught.value.context is stream.context


async def test_without_time_nothing_is_sent(serve: Any, connect: Any) -> None:
    upstream = await serve(stalls)
    client = connect(upstream, clock=lambda: 1000.0)
    for left in (0.05, 0.0, -1.0):
        with pytest.raises(DeadlineExceededError, match="Too little time") as caught:
            await client.send(asking(deadline=1000.0 + left))
        assert caught.value.context == UpstreamContext(model="m")
    assert upstream.unseen() == 0


async def test_the_deadline_ends_a_wait_between_attempts(serve: Any, connect: Any) -> None:
    upstream = await serve(scripted(refuses(529)))
    client = connect(upstream, sleep=lambda seconds: asyncio.sleep(60), clock=lambda: 1000.0)
    with pytest.raises(DeadlineExceededError) as caught:
        await client.send(asking(deadline=1000.8))
    assert (caught.value.context.attempts, caught.value.context.retries) == (1, ("529",))


async def test_a_request_has_its_own_timeouts(serve: Any, connect: Any) -> None:
    client = connect(await serve(stalls), timeouts=Timeouts(read=60))
    with pytest.raises(UpstreamTimeoutError) as caught:
        await client.send(asking(timeouts={"read": 0.05}))
    assert caught.value.phase == "read"


async def test_a_timeout_of_something_else_is_not_taken_for_the_deadline(serve: Any, connect: Any) -> None:
    async def sleep(seconds: float) -> None:
        raise TimeoutError

    client = connect(await serve(scripted(refuses(529))), sleep=sleep, clock=lambda: 1000.0)
    with pytest.raises(TimeoutError):
        await client.send(asking(deadline=1060.0))


async def test_a_stream_that_has_begun_keeps_no_body(serve: Any, connect: Any, engine: Any) -> None:
    if engine == "httpx":
        pytest.skip("httpcore keeps a request as long as its response")
    client = connect(await serve(scripted(sends(error_event("overloaded_error")), sends(EVENT, end="stall"))))
    body = bytes(1024 * 1024)
    before = sys.getrefcount(body)
    async with await client.stream(asking(body=body)) as stream:
        await anext(stream)
        # What wrote it may take a turn of the loop to end.
        await asyncio.sleep(0.05)
        assert sys.getrefcount(body) == before


@pytest.mark.parametrize(
    ("left", "word"),
    [(None, "cancelled"), (1.0, "cancelled"), (0.002, "deadline_exceeded"), (-1.0, "deadline_exceeded")],
)
def test_what_ends_by_a_timer_ended_at_the_deadline_even_if_that_went_off_a_little_early(
    left: float | None, word: str
) -> None:
    guard = Guard(RetryPolicy(), RetryBudget(), Breakers(BreakerPolicy()), lambda: 100.0)
    attempts = Attempts(guard, deadline=None if left is None else 100.0 + left)
    assert why_it_ended(asyncio.CancelledError(), attempts) == word
