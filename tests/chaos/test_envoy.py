"""Gateways behind a real Envoy, with the configuration of `deploy/envoy`: who calls sees no restart."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Self

import grpc
import pytest

from chaos.fleet import Fleet, envoy_before, read_envoy_config
from chaos.history import History, Record, record_call
from chaos.process import stub
from chaos.upstream import Answer, NumberedUpstream
from support.stack import create, stream

Code = grpc.StatusCode

DELTAS = 30
CALLERS = 12
# Nobody but Envoy hides anything.
CHANNEL = [
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
]
# The answers of each upstream, and so of each gateway, have numbers of their own.
MILLION = 1_000_000


def plan(seed: int) -> NumberedUpstream:
    """An upstream whose answers take from a tenth of a second to two."""
    randomness = random.Random(seed)

    def answer(_: int) -> Answer:
        return Answer(deltas=DELTAS, before=randomness.uniform(0, 0.2), pace=randomness.uniform(0.003, 0.06))

    upstream = NumberedUpstream(answer, seed)
    upstream.requests = seed * MILLION
    return upstream


class Load:
    """Callers who call all the time, every third of them unary, all over one connection each three."""

    def __init__(self, target: str, lost: grpc.StatusCode = Code.UNAVAILABLE) -> None:
        self.history = History(DELTAS, lost)
        self.began: dict[int, Record | None] = {}
        self._target = target
        self._stopped = False

    async def __aenter__(self) -> Self:
        self._channels = [grpc.aio.insecure_channel(self._target, options=CHANNEL) for _ in range(CALLERS // 3)]
        self._callers = [
            asyncio.create_task(self._call(self._channels[n // 3], unary=n % 3 == 0)) for n in range(CALLERS)
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopped = True
        await asyncio.gather(*self._callers)
        for channel in self._channels:
            await channel.close()

    def running(self) -> set[int]:
        """Calls that have not ended."""
        return {number for number, record in self.began.items() if record is None}

    async def _call(self, channel: grpc.aio.Channel, *, unary: bool) -> None:
        messages = stub(channel)
        while not self._stopped:
            number = len(self.began)
            self.began[number] = None
            call = messages.CreateMessage(create()) if unary else messages.StreamMessage(stream())
            self.began[number] = record = await record_call(call)
            self.history.records.append(record)


@asynccontextmanager
async def fleet_of_two() -> AsyncIterator[tuple[Fleet, list[NumberedUpstream]]]:
    async with AsyncExitStack() as stack:
        upstreams = [await stack.enter_async_context(plan(seed)) for seed in (1, 2)]
        addresses = [upstream.address for upstream in upstreams]
        yield await stack.enter_async_context(Fleet(addresses, drain_delay=2.5, drain_grace=30)), upstreams


@pytest.mark.timeout(1200)
async def test_restarts_in_turn_fail_no_call(tmp_path: Path, at_length: bool) -> None:
    restarts = 20 if at_length else 2
    async with fleet_of_two() as (fleet, upstreams), envoy_before(fleet, tmp_path) as target, Load(target) as load:
        for number in range(restarts):
            assert await fleet.end(number % 2) == 0
            await fleet.start(number % 2)
            # Until Envoy has asked for its health and found it well.
            served = upstreams[number % 2].requests
            while upstreams[number % 2].requests == served:
                await asyncio.sleep(0.05)
    load.history.check()
    records = load.history.records
    streams, failed = sum(record.streamed for record in records), len(records) - load.history.count(Code.OK)
    print(f"\n{restarts} restarts, {len(records)} calls, {streams} of them streams: {failed} failed")
    assert not failed


async def kill_one(fleet: Fleet, upstreams: list[NumberedUpstream], load: Load) -> dict[int, Record]:
    """Kill a gateway under load; the calls that failed, which are all its own."""
    async with load:
        await asyncio.sleep(1)
        running, its, before = load.running(), upstreams[0].running, len(load.began)
        await fleet.end(0, signal.SIGKILL)
        # And those that began while it was going, and may have ended with it.
        running |= set(range(before, len(load.began)))
        await asyncio.sleep(3)
    load.history.check()
    failed = {number: record for number, record in load.began.items() if record and record.code is not Code.OK}
    print(f"\n{len(failed)} calls failed of {its} that the gateway had, {len(load.began)} in all")
    assert failed
    assert failed.keys() <= running
    assert all(int(r.answer.removeprefix("msg_")) // MILLION == 1 for r in failed.values() if r.answer)
    return failed


async def test_a_killed_gateway_fails_its_own_calls_and_those_as_unavailable() -> None:
    async with fleet_of_two() as (fleet, upstreams):
        failed = await kill_one(fleet, upstreams, Load(fleet.target))
    assert {record.code for record in failed.values()} == {Code.UNAVAILABLE}


async def test_behind_envoy_streams_of_a_killed_gateway_that_had_begun_end_as_internal(tmp_path: Path) -> None:
    # It resets them with INTERNAL_ERROR, whatever the reason; gRPC has no other code for that.
    async with fleet_of_two() as (fleet, upstreams), envoy_before(fleet, tmp_path) as target:
        failed = await kill_one(fleet, upstreams, Load(target, lost=Code.INTERNAL))
    assert all(r.code is (Code.INTERNAL if r.streamed else Code.UNAVAILABLE) for r in failed.values())


def test_the_configuration_tries_again_only_what_no_gateway_has_seen() -> None:
    (listener,) = read_envoy_config()["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    route = manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]
    assert route["retry_policy"]["retry_on"] == "connect-failure,refused-stream"
    assert (route["timeout"], manager["stream_idle_timeout"]) == ("0s", "0s")
