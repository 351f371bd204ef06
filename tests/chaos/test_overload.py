"""Five times the load that can be served: what can be served is, and the rest is told so at once."""

from __future__ import annotations

import asyncio
from statistics import median, quantiles

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chaos.load import ask, offer
from chaos.process import measured_gateway
from chaos.upstream import Answer, NumberedUpstream

# Calls at once and seconds that upstream takes for each.
AT_ONCE, TAKES = 25, 0.25
CAPACITY = AT_ONCE / TAKES


async def watch_health(channel: grpc.aio.Channel) -> list[float]:
    """Ask after its health until cancelled; how long each answer took."""
    seconds: list[float] = []
    health = health_pb2_grpc.HealthStub(channel)
    loop = asyncio.get_running_loop()
    try:
        while True:
            began = loop.time()
            assert (
                await health.Check(health_pb2.HealthCheckRequest())
            ).status == health_pb2.HealthCheckResponse.SERVING
            seconds.append(loop.time() - began)
            await asyncio.sleep(0.1)
    except asyncio.CancelledError:
        return seconds


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
        watching = asyncio.create_task(watch_health(probe))
        outcomes = await offer(5 * CAPACITY, seconds, lambda: ask(channel))
        watching.cancel()
        health = await watching
    goodput = sum(outcome.ok for outcome in outcomes) / seconds
    refused = [outcome for outcome in outcomes if not outcome.ok]
    at_once = sorted(outcome.seconds for outcome in refused)
    print(
        f"\npeak {peak:.0f}/s, at five times the load {goodput:.0f}/s and {len(refused)} refused: "
        f"median {median(at_once) * 1000:.1f} ms, p99 {quantiles(at_once, n=100)[98] * 1000:.1f} ms; "
        f"health asked {len(health)} times, at most {max(health) * 1000:.0f} ms"
    )
    assert goodput >= 0.9 * peak
    assert {outcome.ended.info.reason for outcome in refused} == {"GATEWAY_OVERLOADED"}
    assert all(outcome.ended.retry_seconds for outcome in refused)
    assert all(int(outcome.ended.trailers["grpc-retry-pushback-ms"]) >= 500 for outcome in refused)
    assert len(health) >= seconds
    assert median(at_once) < (0.02 if at_length else 1)
