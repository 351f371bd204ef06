"""What a process does that is told to end, in the order in which callers see it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chaos.fleet import Fleet
from chaos.process import stub
from chaos.upstream import Answer, NumberedUpstream
from support.stack import Ended, create, drain, stream

Code = grpc.StatusCode
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
READINESS = health_pb2.HealthCheckRequest(service="readiness")
LIVENESS = health_pb2.HealthCheckRequest(service="liveness")


@asynccontextmanager
async def busy_gateway(
    pace: float, drain_delay: float = 0
) -> AsyncIterator[tuple[Fleet, grpc.aio.Channel, asyncio.Task[Ended]]]:
    """A gateway with a stream that runs, of 20 deltas at this pace."""
    async with (
        NumberedUpstream(lambda number: Answer(deltas=20, pace=0 if number else pace)) as upstream,
        Fleet([upstream.address], drain_delay=drain_delay, drain_grace=30) as fleet,
        grpc.aio.insecure_channel(f"127.0.0.1:{fleet.ports[0]}") as channel,
    ):
        running = asyncio.create_task(drain(stub(channel).StreamMessage(stream())))
        while not upstream.sent:
            await asyncio.sleep(0.01)
        yield fleet, channel, running


async def test_health_goes_first_then_calls_are_refused_then_what_runs_comes_to_its_end() -> None:
    async with busy_gateway(pace=0.25, drain_delay=2) as (fleet, channel, running):
        health = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(READINESS)
        assert (await watch.read()).status == SERVING
        ending = asyncio.create_task(fleet.end(0))
        assert (await watch.read()).status == NOT_SERVING
        assert await watch.read() is grpc.aio.EOF
        assert (await health.Check(READINESS)).status == NOT_SERVING
        assert (await health.Check(LIVENESS)).status == SERVING
        assert (await drain(stub(channel).CreateMessage(create()))).code is Code.OK
        while (refused := await drain(stub(channel).CreateMessage(create()))).code is Code.OK:
            await asyncio.sleep(0.1)
        assert refused.code is Code.UNAVAILABLE
        assert not running.done()
        assert (await running).code is Code.OK
        assert await ending == 0


@pytest.mark.parametrize("drain_delay", [0, 30])
async def test_a_second_signal_ends_what_runs(drain_delay: float) -> None:
    async with busy_gateway(3, drain_delay) as (fleet, channel, running):
        watch = health_pb2_grpc.HealthStub(channel).Watch(READINESS)
        await watch.read()
        ending = asyncio.create_task(fleet.end(0))
        assert (await watch.read()).status == NOT_SERVING
        assert not running.done()
        fleet.signal(0, signal.SIGTERM)
        ended = await running
        assert (ended.code, ended.info.reason) == (Code.UNAVAILABLE, "DRAINING")
        assert (ended.info.metadata["partial"], ended.info.metadata["safeToRetry"]) == ("true", "false")
        assert await asyncio.wait_for(ending, 10) == 0


async def test_what_a_killed_gateway_had_ends_as_unavailable() -> None:
    async with busy_gateway(pace=3) as (fleet, _, running):
        await fleet.end(0, signal.SIGKILL)
        ended = await running
        assert (ended.code, ended.info.reason) == (Code.UNAVAILABLE, "")
