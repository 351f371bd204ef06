"""Whatever a collector does: calls go well, memory is bounded, and the gateway stops in time."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from claude_grpc.v1.messages_pb2_grpc import MessagesServiceStub
from support.otlp import open_black_hole, open_collector
from support.processes import GatewayProcess, running_gateway
from support.stack import create, drain, stream


@asynccontextmanager
async def troubled(trouble: str, protocol: str) -> AsyncIterator[str]:
    """The URL of a collector in trouble."""
    if trouble == "refused":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            yield f"http://127.0.0.1:{free.getsockname()[1]}"
    elif trouble == "black hole":
        async with open_black_hole() as url:
            yield url
    else:
        async with open_collector("slow" if trouble == "slow" else "fails") as collector:
            yield collector.grpc_url if protocol == "grpc" else collector.http_url


def resident_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024


@pytest.mark.parametrize(
    ("trouble", "protocol"),
    [
        ("refused", "http/protobuf"),
        ("black hole", "http/protobuf"),
        ("black hole", "grpc"),
        ("slow", "grpc"),
        ("fails", "http/protobuf"),
    ],
)
async def test_calls_go_well_and_the_gateway_stops_in_time(trouble: str, protocol: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with troubled(trouble, protocol) as url:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_METRIC_EXPORT_INTERVAL": "300",
        }
        async with process(log, **variables) as gateway, grpc.aio.insecure_channel(gateway.target) as channel:
            messages: Any = MessagesServiceStub(channel)  # type: ignore[no-untyped-call]
            for _ in range(5):
                ends = [messages.CreateMessage(create(), timeout=20), messages.StreamMessage(stream(), timeout=20)]
                ended = await asyncio.gather(*map(drain, ends))
                assert [end.code for end in ended] == [grpc.StatusCode.OK] * 2
            began = time.monotonic()
            gateway.process.send_signal(signal.SIGTERM)
            status = await asyncio.to_thread(gateway.process.wait, 20)
            took = time.monotonic() - began
    assert status == 0, log.read_text()
    # No call ran any more, and no delay is set: what is left is the time for telemetry, and the interpreter's own.
    assert took < 3


async def test_what_cannot_be_sent_is_dropped_not_kept(tmp_path: Path) -> None:
    variables = {"OTEL_BSP_MAX_QUEUE_SIZE": "64", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "64"}
    async with (
        open_black_hole() as url,
        process(tmp_path / "log", OTEL_EXPORTER_OTLP_ENDPOINT=url, **variables) as gateway,
        grpc.aio.insecure_channel(gateway.target) as channel,
    ):
        messages: Any = MessagesServiceStub(channel)  # type: ignore[no-untyped-call]

        async def calls(count: int) -> None:
            for _ in range(count):
                await messages.CreateMessage(create())

        await calls(100)
        before = resident_bytes(gateway.process.pid)
        await asyncio.gather(*(calls(100) for _ in range(4)))
        grown = resident_bytes(gateway.process.pid) - before
        gateway.process.kill()
    # 400 calls are 1,200 spans, of some 5 kB each.
    assert grown < 3_000_000


@asynccontextmanager
async def process(log: Path, **variables: str) -> AsyncIterator[GatewayProcess]:
    """A gateway as a process, while this loop goes on."""
    opening = running_gateway(log, **variables)
    gateway = await asyncio.to_thread(opening.__enter__)
    try:
        yield gateway
    finally:
        await asyncio.to_thread(opening.__exit__, None, None, None)
