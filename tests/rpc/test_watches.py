"""Watching a batch: the state now, each change, one poll for all, and none when nobody watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from typing import Any

import pytest

from claude_grpc.errors import (
    DrainingError,
    UpstreamConnectionError,
    UpstreamContext,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)
from claude_grpc.rpc.watches import State, Watches
from claude_grpc.telemetry.calls import CallTelemetry
from claude_grpc.v1.batches_pb2 import (
    MESSAGE_BATCH_STATE_ENDED,
    MESSAGE_BATCH_STATE_IN_PROGRESS,
    MessageBatch,
)

# The promise is 0.1 s; the rest is for a machine that does other things, too.
AT_ONCE = 1.0
RUNNING, ENDED = MESSAGE_BATCH_STATE_IN_PROGRESS, MESSAGE_BATCH_STATE_ENDED

someone = CallTelemetry.silent


class Upstream:
    """Answers polls as the test says, and is where they sleep."""

    def __init__(self, *answers: MessageBatch | UpstreamError) -> None:
        self.answers = list(answers)
        self.polls = 0
        self.polling = 0
        self.cancelled = False
        self.pauses: list[float] = []
        self.headers: dict[str, str] = {}
        self.gate = asyncio.Event()
        self._asleep: asyncio.Future[None] | None = None
        self._sleeping = asyncio.Event()

    async def poll(self, _: Collection[CallTelemetry] = ()) -> State:
        self.polls += 1
        self.polling += 1
        assert self.polling == 1
        try:
            await asyncio.sleep(0)
            if not self.answers:
                await self.gate.wait()
            answer = self.answers.pop(0)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        finally:
            self.polling -= 1
        context = UpstreamContext(request_id=f"req_{self.polls}", headers=self.headers)
        if isinstance(answer, UpstreamError):
            answer.context = context
            raise answer
        return answer, context

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self._asleep = asyncio.get_running_loop().create_future()
        self._sleeping.set()
        await self._asleep

    async def wake(self) -> None:
        """Let the next pause be over, once it is there."""
        await self._sleeping.wait()
        self._sleeping.clear()
        assert self._asleep is not None
        self._asleep.set_result(None)


def running(processing: int = 1) -> MessageBatch:
    return MessageBatch(state=RUNNING, request_counts={"processing": processing})


def ended() -> MessageBatch:
    return MessageBatch(state=ENDED)


def states(read: list[State]) -> list[int]:
    return [batch.state for batch, _ in read]


async def follow(watching: AsyncGenerator[State, None]) -> list[State]:
    async with aclosing(watching):
        return [state async for state in watching]


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_batch_that_has_ended_is_told_once() -> None:
    upstream = Upstream(ended())
    read = await follow(Watches(sleep=upstream.sleep).watch("b", upstream.poll, someone()))
    assert states(read) == [ENDED]
    assert read[0][1].request_id == "req_1"
    assert (upstream.polls, upstream.pauses) == (1, [])


async def test_only_changes_are_told_and_the_poll_backs_off_and_hurries_after_one() -> None:
    upstream = Upstream(*[running()] * 4, running(2), *[running(2)] * 12, ended())
    watching = asyncio.ensure_future(follow(Watches(sleep=upstream.sleep).watch("b", upstream.poll, someone())))
    for _ in range(17):
        await upstream.wake()
    read = await watching
    assert [(batch.state, batch.request_counts.processing) for batch, _ in read] == [
        (RUNNING, 1),
        (RUNNING, 2),
        (ENDED, 0),
    ]
    assert upstream.pauses[:4] == [1.0, 1.5, 2.25, 3.375]
    assert upstream.pauses[4:7] == [1.0, 1.5, 2.25]
    assert upstream.pauses[-1] == 30.0
    assert sorted(upstream.pauses[4:]) == upstream.pauses[4:]


@pytest.mark.parametrize(
    ("asked", "pause"), [("10", 10.0), ("0.5", 1.0), ("-1", 1.0), ("nan", 1.0), ("soon", 1.0), ("86400", 1.0)]
)
async def test_upstreams_own_wish_is_heeded_within_reason(asked: str, pause: float) -> None:
    upstream = Upstream(running(), ended())
    upstream.headers = {"retry-after": asked}
    watching = asyncio.ensure_future(follow(Watches(sleep=upstream.sleep).watch("b", upstream.poll, someone())))
    await upstream.wake()
    assert states(await watching) == [RUNNING, ENDED]
    assert upstream.pauses == [pause]


async def test_two_hundred_watchers_cause_one_poll_at_a_time_and_all_see_the_end() -> None:
    upstream = Upstream(running(), running(), running(2), ended())
    hub = Watches(sleep=upstream.sleep)
    everybody = [asyncio.ensure_future(follow(hub.watch("b", upstream.poll, someone()))) for _ in range(200)]
    for _ in range(3):
        await upstream.wake()
    for read in await asyncio.gather(*everybody):
        assert states(read) == [RUNNING, RUNNING, ENDED]
    assert upstream.polls == 4
    assert not hub._watched


async def test_who_comes_later_gets_the_state_at_once_without_a_poll() -> None:
    upstream = Upstream(running())
    hub = Watches(sleep=upstream.sleep)
    first = hub.watch("b", upstream.poll, someone())
    await anext(first)
    await upstream._sleeping.wait()
    later = hub.watch("b", upstream.poll, someone())
    batch, _ = await anext(later)
    assert (batch.state, upstream.polls) == (RUNNING, 1)
    await first.aclose()
    upstream.answers = [ended()]
    await upstream.wake()
    assert states(await follow(later)) == [ENDED]
    assert upstream.polls == 2


async def test_other_batches_and_other_callers_have_polls_of_their_own() -> None:
    first, second = Upstream(ended()), Upstream(running(), ended())
    hub = Watches(sleep=second.sleep)
    watching = asyncio.ensure_future(follow(hub.watch(("b", ()), second.poll, someone())))
    assert states(await follow(hub.watch(("b", ("x",)), first.poll, someone()))) == [ENDED]
    await second.wake()
    assert states(await watching) == [RUNNING, ENDED]


async def test_the_last_to_leave_stops_the_polling() -> None:
    upstream = Upstream(running())
    hub = Watches(sleep=upstream.sleep)
    watchers = [hub.watch("b", upstream.poll, someone()) for _ in range(3)]
    for each in watchers:
        await anext(each)
    await upstream.wake()
    await settle()
    assert upstream.polling == 1
    await watchers[0].aclose()
    await watchers[1].aclose()
    await settle()
    assert not upstream.cancelled
    await watchers[2].aclose()
    await settle()
    assert upstream.cancelled
    assert upstream.polling == 0
    assert not hub._watched


async def test_a_cancelled_watcher_leaves_too() -> None:
    upstream = Upstream()
    hub = Watches(sleep=upstream.sleep)
    watching = asyncio.ensure_future(follow(hub.watch("b", upstream.poll, someone())))
    await settle()
    assert upstream.polling == 1
    watching.cancel()
    await asyncio.wait([watching])
    await settle()
    assert upstream.cancelled
    assert not hub._watched


async def test_who_is_slow_misses_what_was_in_between_and_never_the_end() -> None:
    upstream = Upstream(running(1), running(2), running(3), ended())
    watching = Watches(sleep=upstream.sleep).watch("b", upstream.poll, someone())
    await anext(watching)
    for _ in range(3):
        await upstream.wake()
    await settle()
    assert states(await follow(watching)) == [ENDED]


async def test_a_batch_is_asked_after_anew_when_it_was_watched_before() -> None:
    upstream = Upstream(ended(), ended())
    hub = Watches(sleep=upstream.sleep)
    await follow(hub.watch("b", upstream.poll, someone()))
    await follow(hub.watch("b", upstream.poll, someone()))
    assert upstream.polls == 2


async def test_who_comes_after_the_end_and_before_the_others_left_asks_anew() -> None:
    upstream = Upstream(ended(), ended())
    hub = Watches(sleep=upstream.sleep)
    first = hub.watch("b", upstream.poll, someone())
    await anext(first)
    await settle()
    assert states(await follow(hub.watch("b", upstream.poll, someone()))) == [ENDED]
    await first.aclose()
    assert upstream.polls == 2
    assert not hub._watched


def status_error(status: int) -> UpstreamStatusError:
    return UpstreamStatusError("x", http_status=status)


PASSING: list[UpstreamError] = [
    status_error(429),
    status_error(408),
    status_error(500),
    status_error(529),
    UpstreamConnectionError("x"),
    UpstreamTimeoutError("x", phase="read"),
]


@pytest.mark.parametrize("failure", PASSING, ids=str)
async def test_a_failure_that_passes_is_not_told(failure: UpstreamError) -> None:
    upstream = Upstream(running(), failure, failure, running(), failure, ended())
    watching = asyncio.ensure_future(follow(Watches(sleep=upstream.sleep).watch("b", upstream.poll, someone())))
    for _ in range(5):
        await upstream.wake()
    assert states(await watching) == [RUNNING, ENDED]


async def test_a_failure_that_does_not_pass_is_told_after_the_fifth_time() -> None:
    upstream = Upstream(running(), *[UpstreamConnectionError("gone")] * 5)
    watching = asyncio.ensure_future(follow(Watches(sleep=upstream.sleep).watch("b", upstream.poll, someone())))
    for _ in range(5):
        await upstream.wake()
    with pytest.raises(UpstreamConnectionError, match="gone"):
        await watching
    assert upstream.polls == 6


@pytest.mark.parametrize("failure", [status_error(404), status_error(401), UpstreamProtocolError("x")], ids=str)
async def test_any_other_failure_is_told_to_all_at_once(failure: UpstreamError) -> None:
    upstream = Upstream(running(), failure)
    hub = Watches(sleep=upstream.sleep)
    everybody = [asyncio.ensure_future(follow(hub.watch("b", upstream.poll, someone()))) for _ in range(5)]
    await upstream.wake()
    outcomes = await asyncio.gather(*everybody, return_exceptions=True)
    assert outcomes == [failure] * 5
    assert not hub._watched


@pytest.mark.parametrize("failure", [status_error(529), RuntimeError("bug")], ids=str)
async def test_the_first_poll_s_failure_is_told_whatever_it_is(failure: Any) -> None:
    async def poll(_: Collection[CallTelemetry]) -> State:
        raise failure

    with pytest.raises(type(failure)):
        await follow(Watches().watch("b", poll, someone()))


async def test_a_drain_ends_all_who_watch_and_all_who_come_later() -> None:
    upstream = Upstream(running())
    hub = Watches(sleep=upstream.sleep)
    told, waiting = hub.watch("b", upstream.poll, someone()), hub.watch("c", Upstream().poll, someone())
    await anext(told)
    first = asyncio.ensure_future(anext(waiting))
    await upstream._sleeping.wait()
    hub.drain()
    for watching, partial in (
        (follow(told), True),
        (first, False),
        (follow(hub.watch("b", upstream.poll, someone())), False),
    ):
        with pytest.raises(DrainingError) as raised:
            await watching
        assert (raised.value.partial, raised.value.retry_after) == (partial, 0.1)
    await settle()
    assert upstream.polls == 1
    assert not hub._watched


async def test_a_drain_takes_the_end_from_nobody() -> None:
    upstream = Upstream(ended())
    hub = Watches(sleep=upstream.sleep)
    watching = hub.watch("b", upstream.poll, someone())
    await anext(watching)
    await settle()
    hub.drain()
    assert await follow(watching) == []


# Through the whole gateway.
