"""How an answer is opened: what is tried again until it has begun, how long, and whether at all."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from claude_grpc.errors import (
    BreakerOpenError,
    InvalidRequestError,
    StreamInterruptedError,
    UpstreamConnectionError,
    UpstreamContext,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)
from claude_grpc.upstream import (
    BreakerPolicy,
    BreakerState,
    Endpoint,
    RetryBudget,
    RetryPolicy,
    Timeouts,
    UpstreamClient,
)
from support.openings import EVENT, asking, error_event, error_json, read, refuses, scripted, sends


@pytest.mark.parametrize(
    ("opening", "word"),
    [
        (sends(error_event("overloaded_error")), "overloaded_error"),
        (sends(error_event("api_error")), "api_error"),
        (sends(error_event("rate_limit_error")), "rate_limit_error"),
        (sends(error_event("overloaded_error"), EVENT), "overloaded_error"),
        (sends(), "cut"),
        (sends(b": a comment\n\n"), "cut"),
        (sends(EVENT[:-2], end="close"), "cut"),
        (sends(end="close"), "cut"),
    ],
)
async def test_a_stream_that_fails_before_its_first_event_is_opened_again(
    serve: Any, connect: Any, waits: list[float], opening: Any, word: str
) -> None:
    upstream = await serve(scripted(opening))
    data, context = await read(connect(upstream))
    assert data == [b'{"type":"message_start"}']
    assert (context.request_id, context.attempts, context.retries) == ("req_ok", 2, (word,))
    assert waits == [0.5]


@pytest.mark.parametrize(
    ("opening", "error"),
    [
        (sends(error_event("invalid_request_error")), UpstreamStatusError),
        (sends(b"data: \xff\n\n"), UpstreamProtocolError),
        (sends(end="stall"), UpstreamTimeoutError),
    ],
)
async def test_what_would_fail_again_or_may_be_billed_is_not(
    serve: Any, connect: Any, opening: Any, error: type[UpstreamError]
) -> None:
    upstream = await serve(scripted(opening))
    with pytest.raises(error) as caught:
        await read(connect(upstream, timeouts=Timeouts(read=0.1)))
    assert caught.value.context.attempts == 1


@pytest.mark.parametrize(
    ("opening", "error"),
    [
        (sends(EVENT, end="close"), StreamInterruptedError),
        (sends(EVENT, b"data: \xff\n\n"), UpstreamProtocolError),
        (sends(EVENT + b"data: \xff\n\n"), UpstreamProtocolError),
        (sends(EVENT, end="stall"), UpstreamTimeoutError),
    ],
)
async def test_after_the_first_event_nothing_is_opened_again(
    serve: Any, connect: Any, opening: Any, error: type[UpstreamError]
) -> None:
    upstream = await serve(scripted(opening))
    async with await connect(upstream, timeouts=Timeouts(read=0.1)).stream(asking()) as stream:
        assert [event.data for event in await anext(stream)] == [b'{"type":"message_start"}']
        with pytest.raises(error) as caught:
            await anext(stream)
    assert caught.value.context.attempts == 1
    await upstream.peer()
    assert upstream.unseen() == 0


async def test_an_error_after_the_first_event_is_handed_out_as_an_event(serve: Any, connect: Any) -> None:
    upstream = await serve(scripted(sends(EVENT + error_event("overloaded_error"))))
    data, context = await read(connect(upstream))
    assert data == [b'{"type":"message_start"}', error_json("overloaded_error")]
    assert context.attempts == 1


async def test_what_was_tried_before_is_told_along(serve: Any, connect: Any) -> None:
    upstream = await serve(scripted(refuses(500)))
    earlier = UpstreamContext(attempts=3, retries=("529", "529", "529"), fallback="overloaded")
    _, context = await read(connect(upstream), asking(earlier=earlier))
    assert (context.attempts, context.retries) == (5, ("529", "529", "529", "500"))
    assert (context.model, context.fallback) == ("m", "overloaded")


@pytest.mark.parametrize("kind", ["send", "stream"])
async def test_one_budget_holds_for_all_calls(serve: Any, connect: Any, kind: str) -> None:
    async def script(peer: Any) -> None:
        nonlocal received
        while True:
            await peer.request()
            received += 1
            peer.respond(529, error_json("overloaded_error"))

    received = 0
    client = connect(await serve(script), budget=RetryBudget(tokens=10))
    for _ in range(20):
        with pytest.raises(UpstreamStatusError):
            await (client.send(asking()) if kind == "send" else read(client))
    # The fifth failure leaves half a bucket; the calls before it had three attempts and one.
    assert received == 20 + 3


class TestBreaker:
    @pytest.fixture
    def now(self) -> list[float]:
        return [1000.0]

    @pytest.fixture
    def client(self, connect: Any, now: list[float]) -> Any:
        def make(upstream: Any, **options: Any) -> UpstreamClient:
            options = {"retry": RetryPolicy(max_retries=0), "clock": lambda: now[0], **options}
            client: UpstreamClient = connect(upstream, breaker=BreakerPolicy(failures=2, pause=3.0), **options)
            return client

        return make

    async def test_an_open_breaker_sends_nothing_until_its_pause_is_over(
        self, serve: Any, client: Any, now: list[float]
    ) -> None:
        upstream = await serve(scripted(refuses(529), refuses(503)))
        calls = client(upstream)
        for _ in range(2):
            with pytest.raises(UpstreamStatusError):
                await read(calls)
        with pytest.raises(BreakerOpenError) as caught:
            await read(calls)
        assert (caught.value.retry_after, caught.value.context) == (3.0, UpstreamContext(model="m"))
        [snapshot] = calls.breakers()
        assert (snapshot.name, snapshot.state) == ("m", BreakerState.OPEN)
        now[0] += 3.0
        _, context = await read(calls)
        assert context.attempts == 1
        assert calls.breakers()[0].state is BreakerState.CLOSED

    @pytest.mark.parametrize("model", ["another", ""])
    async def test_others_are_not_held_up(self, serve: Any, client: Any, model: str) -> None:
        calls = client(await serve(scripted(refuses(529), refuses(503))))
        for _ in range(2):
            with pytest.raises(UpstreamStatusError):
                await read(calls)
        await read(calls, asking(model=model))

    async def test_when_it_opens_in_the_wait_the_last_error_is_raised(self, serve: Any, client: Any) -> None:
        async def others_fail(seconds: float) -> None:
            del seconds
            for _ in range(2):
                with pytest.raises(UpstreamError):
                    await read(calls, asking(max_retries=0))

        upstream = await serve(scripted(refuses(429), refuses(529), refuses(529)))
        calls = client(upstream, sleep=others_fail)
        with pytest.raises(UpstreamStatusError) as caught:
            await read(calls, asking(max_retries=2))
        assert caught.value.http_status == 429

    async def test_a_refused_connection_opens_it(self, client: Any) -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            calls = client(None, endpoint=Endpoint(f"http://127.0.0.1:{bound.getsockname()[1]}"))
            for error in (UpstreamConnectionError, UpstreamConnectionError, BreakerOpenError):
                with pytest.raises(error):
                    await calls.send(asking())

    async def test_streams_that_break_off_open_it(self, serve: Any, client: Any) -> None:
        calls = client(await serve(scripted(*[sends(EVENT, end="close")] * 3)))
        # Each began, which is an answer, and then failed.
        for _ in range(2):
            with pytest.raises(StreamInterruptedError):
                await read(calls)
        [snapshot] = calls.breakers()
        assert (snapshot.failures, snapshot.attempts) == (2, 3)

    async def test_an_answer_that_breaks_off_counts_as_well(self, serve: Any, client: Any) -> None:
        async def half(peer: Any) -> bool:
            peer.respond(200, b"half", {"content-length": "500"})
            peer.close()
            return True

        calls = client(await serve(scripted(refuses(529), half)))
        for error in (UpstreamStatusError, StreamInterruptedError):
            with pytest.raises(error):
                await calls.send(asking())
        [snapshot] = calls.breakers()
        assert (snapshot.failures, snapshot.attempts) == (2, 3)

    @pytest.mark.parametrize(("timeouts", "kept"), [({}, 1), ({"read": 0.01}, 1), ({"connect": 0.01}, 0)])
    async def test_a_caller_in_a_hurry_opens_it_for_nobody(
        self, serve: Any, client: Any, timeouts: dict[str, float], kept: int
    ) -> None:
        async def script(peer: Any) -> None:
            await peer.stall()  # and never answers the TLS handshake

        upstream = await serve(script)
        calls = client(upstream, endpoint=Endpoint(f"https://{upstream.netloc}"), timeouts=Timeouts(connect=0.1))
        with pytest.raises(UpstreamTimeoutError):
            await calls.send(asking(timeouts=timeouts))
        assert len(calls.breakers()) == kept

    async def test_a_cancelled_probe_makes_room_for_another(self, serve: Any, client: Any, now: list[float]) -> None:
        async def stalls(peer: Any) -> bool:
            reached.set()
            return True

        reached = asyncio.Event()
        upstream = await serve(scripted(refuses(529), refuses(529), stalls))
        calls = client(upstream)
        for _ in range(2):
            with pytest.raises(UpstreamStatusError):
                await read(calls)
        now[0] += 3.0
        probe = asyncio.ensure_future(read(calls))
        await reached.wait()
        with pytest.raises(BreakerOpenError):
            await read(calls)
        probe.cancel()
        await asyncio.wait([probe])
        await read(calls)

    async def test_a_request_that_cannot_be_sent_makes_room_as_well(self, serve: Any, client: Any) -> None:
        calls = client(await serve(scripted()))
        with pytest.raises(InvalidRequestError):
            await calls.send(asking(headers={"x": "a\nb"}))
        await read(calls)
