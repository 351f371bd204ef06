"""The drain: its machine in every state, under every input, and what callers see of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf

import grpc
import pytest

from claude_grpc.errors import DrainingError
from claude_grpc.rpc.call import Call
from claude_grpc.rpc.drain import Drain, Phase, RunningCalls
from support.layers import within
from support.stack import Ended, Stack, create, drain, open_stack, stream

SERVING, LEAVING, FINISHING, ENDING = Phase


def machine(phase: Phase) -> Drain:
    """A drain in a phase, by the shortest way; signalled at 0."""
    drain = Drain(delay=10, grace=100)
    if phase is not SERVING:
        drain.signal(0)
    if phase in {FINISHING, ENDING}:
        drain.tick(10)
    if phase is ENDING:
        drain.tick(110)
    assert drain.phase is phase
    return drain


INPUTS: dict[str, Callable[[Drain], None]] = {
    "signal": lambda drain: drain.signal(5),
    "tick before the delay is over": lambda drain: drain.tick(9.9),
    "tick after the delay": lambda drain: drain.tick(10),
    "tick after the grace": lambda drain: drain.tick(110),
    "idle": lambda drain: drain.idle(),
}
MOVES = {
    (SERVING, "signal"): (LEAVING, 15),
    (LEAVING, "signal"): (ENDING, inf),
    (FINISHING, "signal"): (ENDING, inf),
    (LEAVING, "tick after the delay"): (FINISHING, 110),
    # The loop may be late: both times are over.
    (LEAVING, "tick after the grace"): (ENDING, inf),
    (FINISHING, "tick after the grace"): (ENDING, inf),
    (FINISHING, "idle"): (ENDING, inf),
}


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("phase", Phase)
def test_every_input_in_every_phase(phase: Phase, name: str) -> None:
    drain = machine(phase)
    expected = MOVES.get((phase, name), (phase, drain.until))
    INPUTS[name](drain)
    assert (drain.phase, drain.until) == expected


@pytest.mark.parametrize(("delay", "grace", "phase"), [(0, 100, FINISHING), (0, 0, ENDING), (1, 0, LEAVING)])
def test_what_is_set_to_zero_is_passed_over(delay: float, grace: float, phase: Phase) -> None:
    drain = Drain(delay=delay, grace=grace)
    drain.signal(0)
    assert drain.phase is phase


async def test_calls_are_idle_when_none_runs() -> None:
    calls = RunningCalls()
    await calls.idle()
    async with within(calls.layer, Call("a")), within(calls.layer, Call("b")):
        idle = asyncio.create_task(calls.idle())
        await asyncio.sleep(0)
        assert not idle.done()
    await idle


async def test_ended_calls_say_why_and_new_ones_are_refused() -> None:
    calls = RunningCalls()

    async def ends() -> None:
        calls.end()
        await asyncio.Event().wait()

    with pytest.raises(DrainingError) as ended:
        await calls.layer(Call("a", partial=True), ends)
    assert ended.value.partial
    assert ended.value.retry_after is None
    with pytest.raises(DrainingError) as refused:
        await calls.layer(Call("b"), ends)
    assert refused.value.retry_after is not None


async def test_a_timeout_within_a_call_is_not_taken_for_the_drains() -> None:
    async def fails() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="own"):
        await RunningCalls().layer(Call("a"), fails)


async def begun(stack: Stack, script: str) -> asyncio.Task[Ended]:
    """A stream that hangs after its first event."""
    stack.simulator.script(script)
    count = len(stack.simulator.requests)
    running = asyncio.create_task(drain(stack.messages.StreamMessage(stream())))
    exchange = await stack.simulator.wait_request(count + 1)
    while not exchange.events_sent:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    return running


@pytest.mark.parametrize("phase", [LEAVING, FINISHING])
async def test_who_hurries_a_drain_ends_what_runs(phase: Phase) -> None:
    async with open_stack(drain_delay=30 if phase is LEAVING else 0, drain_grace=30) as stack:
        running = await begun(stack, "stall at=1")
        hurry = asyncio.Event()
        draining = asyncio.create_task(stack.gateway.drain(hurry))
        await asyncio.sleep(0.1)
        assert not running.done()
        hurry.set()
        ended = await running
        assert (ended.code, ended.info.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
        assert ended.info.metadata["partial"] == "true"
        assert ended.info.metadata["safeToRetry"] == "false"
        assert ended.trailers["request-id"].startswith("req_")
        await asyncio.wait_for(draining, 3)


async def test_a_drain_ends_as_soon_as_nothing_runs() -> None:
    async with open_stack(drain_grace=600) as stack:
        await asyncio.wait_for(stack.gateway.drain(), 3)


async def test_who_waits_for_room_is_sent_elsewhere_when_the_drain_begins() -> None:
    async with open_stack(max_calls=1, queue_timeout=30, drain_grace=0.5) as stack:
        running = await begun(stack, "stall at=1")
        waiting = asyncio.create_task(drain(stack.messages.CreateMessage(create())))
        await asyncio.sleep(0.1)
        draining = asyncio.create_task(stack.gateway.drain())
        ended = await waiting
        assert (ended.code, ended.info.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
        assert ended.info.metadata["safeToRetry"] == "true"
        assert ended.retry_seconds == pytest.approx(0.1)
        assert (await running).info.reason == "DRAINING"
        await draining


async def test_a_reader_that_takes_nothing_does_not_hold_a_drain_up() -> None:
    async with open_stack(drain_grace=0.1) as stack:
        call = stack.messages.StreamMessage(stream("[[repeat 100000]] hello"))
        await call.read()
        await asyncio.wait_for(stack.gateway.drain(), 5)
        call.cancel()
