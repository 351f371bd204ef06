"""Callers that leave, at any moment, leave nothing behind."""

from __future__ import annotations

import asyncio
import random
from statistics import linear_regression
from typing import Any

import grpc
import pytest

from chaos.process import MeasuredGateway, measured_gateway, stub
from chaos.upstream import Answer, NumberedUpstream
from support.stack import create, stream

# Called at once; more than are let in, so that some leave the queue.
CALLERS = 40


def plan(seed: int) -> Any:
    """Upstream's answers: late, slow, broken off, overloaded, or never to end."""
    randomness = random.Random(seed)

    def answer(_: int) -> Answer:
        return randomness.choice(
            [
                Answer(before=randomness.uniform(0, 0.05)),
                Answer(pace=randomness.uniform(0, 0.01)),
                Answer(deltas=5000),
                Answer(end="stall", at=randomness.randint(0, 5)),
                Answer(end="reset", at=randomness.randint(0, 5)),
                Answer(before=60),
                Answer(status=529),
            ]
        )

    return answer


async def leave(stub: Any, randomness: random.Random) -> bool:
    """Call, and leave after up to 60 ms; whether the call was still there."""
    large = randomness.random() < 0.02
    text = "x" * 1_000_000 if large else "hello"
    if randomness.random() < 0.5:
        call = stub.StreamMessage(stream(text), timeout=randomness.choice([None, None, None, 0.03]))
    else:
        call = stub.CreateMessage(create(text))
    timer = asyncio.get_running_loop().call_later(randomness.uniform(0, 0.06), call.cancel)
    try:
        if isinstance(call, grpc.aio.UnaryStreamCall):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError:
        return False
    except asyncio.CancelledError:
        return True
    finally:
        timer.cancel()
    return False


async def leave_often(gateway: MeasuredGateway, count: int, seed: int) -> int:
    """So many calls; how many were cancelled."""
    numbers = iter(range(count))

    async def caller(channel: grpc.aio.Channel, randomness: random.Random) -> int:
        return sum([await leave(stub(channel), randomness) for _ in numbers])

    async with grpc.aio.insecure_channel(gateway.target) as channel:
        return sum(await asyncio.gather(*(caller(channel, random.Random(f"{seed}.{n}")) for n in range(CALLERS))))


@pytest.mark.timeout(1800)
async def test_cancels_in_any_phase_leave_nothing_behind(at_length: bool) -> None:
    rounds, count = (12, 4000) if at_length else (1, 300)
    async with (
        NumberedUpstream(plan(1)) as upstream,
        measured_gateway(upstream.address, max_calls=CALLERS * 3 // 4, max_retries=2, breaker_failures=0) as gateway,
    ):
        await leave_often(gateway, count, 0)
        await upstream.rest()
        before, idle = await gateway.figures(), upstream.connections
        memory, cancels = [before.memory], [0]
        for number in range(rounds):
            cancels.append(cancels[-1] + await leave_often(gateway, count, number + 1))
            await upstream.rest()
            after = await gateway.settled(before)
            memory.append(after.memory)
        slope = linear_regression(cancels, memory).slope
        print(f"\n{cancels[-1]} cancels, {slope:.0f} bytes each; before {before}, after {after}")
        assert cancels[-1] > rounds * count / 2
        assert after.tasks <= before.tasks + 2
        # Connections upstream that wait for the next call are no leak.
        assert after.descriptors - upstream.connections <= before.descriptors - idle
        assert not at_length or slope < 200
