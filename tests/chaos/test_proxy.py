"""The chaos proxy does what it is told to; a test that trusts it would not notice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from chaos.proxy import CLEAN, ChaosProxy, Path, Weather

PAYLOAD = bytes(range(256)) * 40


@asynccontextmanager
async def echo() -> AsyncIterator[tuple[str, int]]:
    """A server that sends back what it gets, and ends when its client has ended."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(1000):
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()


async def exchange(proxy: ChaosProxy, payload: bytes = PAYLOAD) -> bytes:
    """Send everything, end, and read to the end."""
    reader, writer = await asyncio.open_connection(*proxy.address)
    try:
        writer.write(payload)
        writer.write_eof()
        return await reader.read()
    finally:
        writer.transport.abort()


@pytest.mark.parametrize(
    "weather",
    [
        CLEAN,
        Weather(there=Path(latency=0.02, jitter=0.02), back=Path(latency=0.01)),
        Weather(back=Path(trickle=100, pause=0.0001)),
        Weather(there=Path(end="cut", after=len(PAYLOAD) + 1)),
    ],
)
async def test_what_only_delays_changes_nothing(weather: Weather) -> None:
    async with echo() as target, ChaosProxy(target, lambda _: weather) as proxy:
        assert await exchange(proxy) == PAYLOAD


async def test_latency_is_that_of_the_way_and_not_of_each_piece() -> None:
    weather = Weather(there=Path(latency=0.1, trickle=100))
    async with echo() as target, ChaosProxy(target, lambda _: weather) as proxy:
        began = time.monotonic()
        await exchange(proxy)
        assert 0.1 <= time.monotonic() - began < 1


@pytest.mark.parametrize("after", [1, 1000, len(PAYLOAD) - 1])
async def test_a_cut_comes_after_so_many_bytes(after: int) -> None:
    weather = Weather(back=Path(end="cut", after=after))
    async with echo() as target, ChaosProxy(target, lambda _: weather) as proxy:
        assert await exchange(proxy) == PAYLOAD[:after]


async def test_a_reset_is_a_reset() -> None:
    weather = Weather(back=Path(end="reset", after=1000))
    async with echo() as target, ChaosProxy(target, lambda _: weather) as proxy:
        with pytest.raises(ConnectionResetError):
            await exchange(proxy)


async def test_a_half_close_ends_one_direction() -> None:
    weather = Weather(there=Path(end="half-close", after=1000))
    async with echo() as target, ChaosProxy(target, lambda _: weather) as proxy:
        assert await exchange(proxy) == PAYLOAD[:1000]


async def test_a_black_hole_is_silent() -> None:
    weather = Weather(back=Path(end="black-hole", after=1000))
    async with echo() as target, ChaosProxy(target, lambda _: weather) as proxy:
        reader, writer = await asyncio.open_connection(*proxy.address)
        writer.write(PAYLOAD)
        assert await reader.readexactly(1000) == PAYLOAD[:1000]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        assert proxy.open == 1
        writer.transport.abort()


async def test_each_connection_has_its_own_weather() -> None:
    plan = {1: Weather(back=Path(end="cut", after=10))}
    async with echo() as target, ChaosProxy(target, lambda number: plan.get(number, CLEAN)) as proxy:
        sizes = [len(await exchange(proxy)) for _ in range(3)]
        assert sizes == [len(PAYLOAD), 10, len(PAYLOAD)]


async def test_a_target_that_is_not_there_is_a_reset_connection() -> None:
    async with ChaosProxy(("127.0.0.1", 1)) as proxy:
        with pytest.raises(ConnectionError):
            await exchange(proxy)
