"""Connections: which are closed, which may stay, and what keeps them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from claude_grpc import engine
from claude_grpc.v1.gateway_pb2 import GetServerInfoRequest
from support.stack import Stack, open_stack, stream

READY, IDLE = grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.IDLE
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
PING = b"\0\0\x08\6\0\0\0\0\0" + b"are here"
PONG, GOAWAY = b"\6\1", b"\7\0"


@asynccontextmanager
async def connected(stack: Stack) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = stack.gateway.target.rpartition(":")
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def frame(reader: asyncio.StreamReader) -> bytes:
    """The type and the flags of the next frame."""
    head = await reader.readexactly(9)
    await reader.readexactly(int.from_bytes(head[:3], "big"))
    return head[3:5]


@pytest.mark.parametrize("said", [b"", PREFACE[:10], PREFACE], ids=["nothing", "half a preface", "a preface"])
async def test_a_connection_that_does_not_say_what_it_wants_is_closed(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine._HANDSHAKE_SECONDS == 10
    monkeypatch.setattr(engine, "_HANDSHAKE_SECONDS", 0.5)
    async with open_stack() as stack, connected(stack) as (reader, writer):
        began = time.monotonic()
        writer.write(said)
        await reader.read()
        assert 0.3 < time.monotonic() - began < 10


async def test_a_connection_without_calls_is_closed_and_one_with_a_silent_call_is_not() -> None:
    async with (
        open_stack(max_connection_idle=1) as stack,
        grpc.aio.insecure_channel(stack.gateway.target, options=[("grpc.use_local_subchannel_pool", 1)]) as other,
    ):
        await stack.server.GetServerInfo(GetServerInfoRequest())
        stack.simulator.script("stall at=1")
        await other.channel_ready()
        silent = type(stack.messages)(other).StreamMessage(stream())
        await silent.read()
        await stack.channel.wait_for_state_change(READY)
        assert stack.channel.get_state() is IDLE
        await asyncio.sleep(1)
        assert other.get_state() is READY
        silent.cancel()


async def test_pings_every_ten_seconds_are_welcome_and_a_flood_of_them_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a twentieth of the time."""
    assert engine._LEAST_PING_SECONDS < 10
    monkeypatch.setattr(engine, "_LEAST_PING_SECONDS", engine._LEAST_PING_SECONDS / 20)
    async with open_stack() as stack, connected(stack) as (reader, writer):
        writer.write(PREFACE + SETTINGS)
        for _ in range(5):
            await asyncio.sleep(0.5)
            writer.write(PING)
            while (seen := await frame(reader)) != PONG:
                assert seen != GOAWAY
        writer.write(PING * 10)
        while await frame(reader) != GOAWAY:
            pass
