"""Five times the load that can be served: what can be served is, and the rest is told so at once."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from subprocess import PIPE

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chaos.load import ask, offer
from chaos.process import measured_gateway
from chaos.upstream import Answer, NumberedUpstream
from support.processes import clean_environment

# Calls at once and seconds that upstream takes for each.
AT_ONCE, TAKES = 25, 0.25
CAPACITY = AT_ONCE / TAKES


async def watch_health(channel: grpc.aio.Channel, stopped: asyncio.Event) -> list[float]:
    """Ask after its health until told to stop; how long each answer took."""
    seconds: list[float] = []
    health = health_pb2_grpc.HealthStub(channel)
    loop = asyncio.get_running_loop()
    while not stopped.is_set():
        began = loop.time()
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
        seconds.append(loop.time() - began)
        await asyncio.sleep(0.1)
    return seconds


@asynccontextmanager
async def refused_caller(target: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A caller in a process of its own, who has begun."""
    script = Path(__file__).with_name("refused_caller.py")
    environment = clean_environment(PYTHONPATH=os.pathsep.join([*sys.path, str(script.parent.parent)]))
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), target, stdin=PIPE, stdout=PIPE, env=environment, limit=1024 * 1024
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline()
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def told_by(caller: asyncio.subprocess.Process) -> tuple[int, list[float], list[float]]:
    """How many calls were served, and milliseconds of each refusal, as the caller saw them and as the gateway says."""
    told, _ = await caller.communicate(b"\n")
    served, refused = json.loads(told)
    seen, own = zip(*refused, strict=True)
    return served, list(seen), list(own)


def spread(milliseconds: list[float]) -> str:
    return f"median {median(milliseconds):.1f} ms, p99 {quantiles(milliseconds, n=100)[98]:.1f} ms"


@pytest.mark.timeout(300)
async def test_five_times_the_capacity(at_length: bool) -> None:
    seconds = 20 if at_length else 1
    async with (
        NumberedUpstream(lambda _: Answer(before=TAKES)) as upstream,
        measured_gateway(upstream.address, max_calls=AT_ONCE, max_queued_calls=AT_ONCE) as gateway,
        grpc.aio.insecure_channel(gateway.target) as channel,
        grpc.aio.insecure_channel(gateway.target, options=[("grpc.use_local_subchannel_pool", 1)]) as probe,
    ):
        await offer(CAPACITY, 0.5, lambda: ask(channel))
        peak = sum(outcome.ok for outcome in await offer(CAPACITY, seconds, lambda: ask(channel))) / seconds
        async with refused_caller(gateway.target) as caller:
            stopped = asyncio.Event()
            watching = asyncio.create_task(watch_health(probe, stopped))
            outcomes = await offer(5 * CAPACITY, seconds, lambda: ask(channel))
            stopped.set()
            health = await watching
            served, seen, own = await told_by(caller)
    goodput = (served + sum(outcome.ok for outcome in outcomes)) / seconds
    refused = [outcome for outcome in outcomes if not outcome.ok]
    print(
        f"\npeak {peak:.0f}/s, at five times the load {goodput:.0f}/s and {len(refused)} refused; "
        f"of {len(seen)} more, as one caller saw them: {spread(seen)}, of which in the gateway: {spread(own)}; "
        f"health asked {len(health)} times, at most {max(health) * 1000:.0f} ms"
    )
    assert goodput >= 0.9 * peak
    assert {outcome.ended.info.reason for outcome in refused} == {"GATEWAY_OVERLOADED"}
    assert all(outcome.ended.retry_seconds for outcome in refused)
    assert all(int(outcome.ended.trailers["grpc-retry-pushback-ms"]) >= 500 for outcome in refused)
    assert len(health) >= seconds
    if at_length:
        # What others on the machine take from both is in the callers' times, so of those the middle counts.
        assert median(seen) < 20
        assert quantiles(own, n=100)[98] < 20
