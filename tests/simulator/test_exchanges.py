from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import aiohttp
import pytest

from claude_grpc.simulator import Simulator, SimulatorOptions, run


async def test_a_request_is_kept_as_it_came(ask: Any, simulator: Simulator) -> None:
    body = json.dumps(ask.body("Hi")).encode() + b"  "
    reply = await ask.post(body, "/v1/messages?beta=true", X_Custom="1")
    (exchange,) = simulator.requests
    assert (exchange.method, exchange.path, exchange.body) == ("POST", "/v1/messages?beta=true", body)
    assert (exchange.headers["x-custom"], exchange.headers["x-api-key"]) == ("1", "any")
    assert (exchange.status, exchange.request_id) == (200, reply.headers["request-id"])
    assert exchange.closed_at is not None
    assert exchange.opened_at <= exchange.closed_at <= time.monotonic()
    assert not exchange.closed_early


async def test_refused_requests_are_kept_too(ask: Any, simulator: Simulator) -> None:
    await ask.post(b"{")
    assert [(exchange.body, exchange.status) for exchange in simulator.requests] == [(b"{", 400)]


async def test_a_stream_stops_at_once_when_the_client_goes(ask: Any, simulator: Simulator) -> None:
    async with ask.open(ask.body("[[repeat 20000]]", stream=True, max_tokens=10_000_000)) as response:
        await response.content.readuntil(b"\n\n")
        response.close()
        left = time.monotonic()
    exchange = await simulator.wait_closed(await simulator.wait_request())
    assert exchange.closed_early
    assert exchange.closed_at is not None
    assert exchange.closed_at - left < 1
    assert simulator.open_connections == 0


async def test_a_slow_reader_is_waited_for(ask: Any, simulator: Simulator) -> None:
    async with ask.open(ask.body("[[repeat 20000]]", stream=True, max_tokens=10_000_000)) as response:
        exchange = await simulator.wait_request()
        idle, sent = 0, 0
        # A stream that is not held back sends an event in each turn of the loop.
        while idle < 100:
            idle, sent = (idle + 1, sent) if exchange.events_sent == sent else (0, exchange.events_sent)
            await asyncio.sleep(0)
        assert exchange.closed_at is None
        await response.content.readuntil(b"\n\n")
    await simulator.wait_closed(exchange)


async def test_connections_are_counted_while_they_are_open(simulator: Simulator) -> None:
    assert simulator.open_connections == 0
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n")
    assert simulator.open_connections == 1
    writer.close()
    await writer.wait_closed()


async def test_a_client_that_goes_before_its_body_has_come_is_noted(simulator: Simulator) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    writer.write(b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{")
    await writer.drain()
    writer.close()
    exchange = await simulator.wait_closed(await simulator.wait_request())
    assert (exchange.body, exchange.closed_early) == (b"", True)


async def test_requests_are_waited_for_by_number(ask: Any, simulator: Simulator) -> None:
    third = asyncio.ensure_future(simulator.wait_request(3))
    for question in ("One", "Two", "Three"):
        await ask(question)
    assert b"Three" in (await third).body
    assert b"Two" in (await simulator.wait_request(2)).body


class TestHistory:
    @pytest.fixture
    def options(self) -> SimulatorOptions:
        return SimulatorOptions(history=2)

    async def test_only_the_last_requests_are_kept(self, ask: Any, simulator: Simulator) -> None:
        for question in ("One", "Two", "Three"):
            await ask(question)
        assert [b"Two" in exchange.body for exchange in simulator.requests] == [True, False]


async def test_a_stop_does_not_wait_for_running_streams(ask: Any) -> None:
    async with Simulator() as simulator:
        ask.base_url = simulator.base_url
        async with ask.open(ask.body("[[stall]]", stream=True)) as response:
            exchange = await simulator.wait_request()
            await simulator.__aexit__()
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
    assert exchange.closed_early


async def test_a_port_that_is_taken_is_an_error(simulator: Simulator) -> None:
    with pytest.raises(OSError, match="in use"):
        await Simulator(SimulatorOptions(port=simulator.port)).__aenter__()


def test_a_simulator_that_does_not_run_has_no_port() -> None:
    with pytest.raises(RuntimeError):
        assert Simulator().base_url
    assert Simulator().open_connections == 0


async def test_run_serves_until_it_is_cancelled(ask: Any) -> None:
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(run("127.0.0.1", 0, started=started.set_result))
    ask.base_url = await started
    assert (await ask()).status == 200
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(aiohttp.ClientConnectionError):
        await ask()
