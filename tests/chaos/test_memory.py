"""What is bounded stays bounded: large requests, frozen readers."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from chaos.process import Figures, MeasuredGateway, measured_gateway
from chaos.upstream import Answer, NumberedUpstream
from claude_grpc.v1.batches_pb2 import CreateMessageBatchHeader, CreateMessageBatchRequest, MessageBatchItem
from support.processes import clean_environment
from support.stack import create, drain, params

KIB = 1024
MIB = 1024 * 1024
# What a pod of a gibibyte has, with an eighth to spare for what is not measured here.
MOST = 900 * MIB
CREATE = "/claude_grpc.v1.MessagesService/CreateMessage"
CREATE_BATCH = "/claude_grpc.v1.BatchesService/CreateMessageBatch"
UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("channels", "count", "settings"),
    [(1, 60, {}), (20, 60, {}), (20, 110, {"max_calls": 4, "queue_timeout": 5})],
    ids=["one connection", "many connections", "the queue full"],
)
async def test_requests_of_27_mb_at_once_fit_into_a_pod(
    channels: int, count: int, settings: dict[str, int], at_length: bool
) -> None:
    """All are answered or refused, and the process never has near a gibibyte; upstream takes its time for each."""
    count = count if at_length else count // 6
    serialized = create("x" * 27_000_000).SerializeToString()
    await call_at_once(count, channels, settings, lambda channel: channel.unary_unary(CREATE)(serialized))


@pytest.mark.timeout(600)
async def test_uploads_in_parts_of_27_mb_at_once_fit_into_a_pod(at_length: bool) -> None:
    """Of a part nothing is known before it has come, so all of them come."""
    item = MessageBatchItem(custom_id="1", params=params("x" * 27_000_000))
    parts = [
        CreateMessageBatchRequest(header=CreateMessageBatchHeader()).SerializeToString(),
        CreateMessageBatchRequest(item=item).SerializeToString(),
    ]
    await call_at_once(60 if at_length else 10, 10, {}, lambda channel: channel.stream_unary(CREATE_BATCH)(iter(parts)))


@pytest.mark.timeout(600)
async def test_a_batch_holds_nothing_of_a_part_while_its_caller_is_busy_with_the_next(at_length: bool) -> None:
    item = MessageBatchItem(custom_id="1", params=params("x" * 27_000_000))
    parts = [
        CreateMessageBatchRequest(header=CreateMessageBatchHeader()).SerializeToString(),
        CreateMessageBatchRequest(item=item).SerializeToString(),
    ]
    count = 40 if at_length else 2
    async with (
        NumberedUpstream() as upstream,
        measured_gateway(upstream.address) as gateway,
        grpc.aio.insecure_channel(gateway.target, options=UNLIMITED) as channel,
    ):
        before = await gateway.figures()
        calls = [channel.stream_unary(CREATE_BATCH)() for _ in range(count)]
        for number, call in enumerate(calls, 1):
            for part in parts:
                await call.write(part)
            while spooled(gateway) < number * 27_000_000:
                await asyncio.sleep(0.05)
        after = await gateway.figures()
        for call in calls:
            call.cancel()
    each = (after.memory - before.memory) / count
    print(f"\n{count} batches between two parts of 27 MB: {each / MIB:.1f} MiB each")
    assert each < 7 * MIB


def spooled(gateway: MeasuredGateway) -> int:
    """Bytes in the process's files without a name."""
    size = 0
    for opened in Path(f"/proc/{gateway.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since
            size += opened.stat().st_size if str(opened.readlink()).endswith(" (deleted)") else 0
    return size


async def call_at_once(
    count: int, channels: int, settings: dict[str, int], call: Callable[[grpc.aio.Channel], Any]
) -> None:
    async with (
        NumberedUpstream(lambda _: Answer(before=1.0)) as upstream,
        measured_gateway(upstream.address, max_retries=0, connect_timeout=60, **settings) as gateway,
    ):
        opened = [grpc.aio.insecure_channel(gateway.target, options=UNLIMITED) for _ in range(channels)]
        ended = await asyncio.gather(*(drain(call(opened[number % channels])) for number in range(count)))
        outcomes = Counter((one.code.name, one.info.reason) for one in ended)
        after = await gateway.figures()
        for channel in opened:
            await channel.close()
    print(f"\n{count} x 27 MB over {channels} connections: {dict(outcomes)}, peak {after.peak / MIB:.0f} MiB")
    assert set(outcomes) <= {("OK", ""), ("UNAVAILABLE", "GATEWAY_OVERLOADED")}
    assert outcomes["OK", ""] >= 4
    assert all(one.retry_seconds for one in ended if one.code is not grpc.StatusCode.OK)
    assert after.peak < MOST


@asynccontextmanager
async def frozen_readers(target: str, count: int) -> AsyncIterator[None]:
    """Streams whose caller has stopped reading, with everything it has."""
    folder = Path(__file__).parent
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(folder / "frozen_readers.py"),
        target,
        str(count),
        stdout=asyncio.subprocess.PIPE,
        env=clean_environment(PYTHONPATH=os.pathsep.join([*sys.path, str(folder.parent)])),
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        yield
    finally:
        process.kill()
        await process.wait()


async def still(running: NumberedUpstream) -> None:
    """Wait until nothing more is sent: every reader has what it can take."""
    sent = -1
    while sent != running.sent:
        sent = running.sent
        await asyncio.sleep(1)


async def memory_of_streams(answer: Answer, count: int) -> float:
    """Bytes that each of so many streams takes whose readers are frozen."""
    async with (
        NumberedUpstream(lambda _: answer) as upstream,
        measured_gateway(upstream.address, max_calls=2000, max_connections=2000) as gateway,
        # The first ones bring what every process needs once.
        frozen_readers(gateway.target, 20),
    ):
        before = await gateway.figures()
        after = await figures_with_frozen_readers(upstream, gateway, count)
    return (after.memory - before.memory) / count


async def figures_with_frozen_readers(running: NumberedUpstream, gateway: MeasuredGateway, count: int) -> Figures:
    """How the gateway is with so many more."""
    others = running.running
    async with frozen_readers(gateway.target, count):
        await still(running)
        assert running.running == others + count
        return await gateway.figures()


@pytest.mark.timeout(900)
async def test_a_frozen_reader_costs_less_than_64_kib(at_length: bool) -> None:
    """All in all; of a few, only what it costs beside an open stream can be told from what the process takes anyway."""
    count = 1000 if at_length else 40
    silent = await memory_of_streams(Answer(end="stall", at=1), count)
    flooded = await memory_of_streams(Answer(deltas=1_000_000, padding=1000), count)
    print(f"\n{count} frozen readers: {flooded / KIB:.1f} KiB each, of which an open stream is {silent / KIB:.1f}")
    assert (flooded if at_length else flooded - silent) < 64 * KIB


@pytest.mark.timeout(600)
async def test_frozen_readers_are_freed_by_keepalive(at_length: bool) -> None:
    count, interval, timeout = (1000, 60, 20) if at_length else (20, 1, 2)
    async with (
        NumberedUpstream(lambda _: Answer(deltas=1_000_000, padding=1000)) as upstream,
        measured_gateway(
            upstream.address,
            max_calls=2000,
            max_connections=2000,
            keepalive_interval=interval,
            keepalive_timeout=timeout,
        ) as gateway,
    ):
        before = await gateway.figures()
        async with frozen_readers(gateway.target, count):
            began = time.monotonic()
            while upstream.running:
                await asyncio.sleep(0.1)
            seconds = time.monotonic() - began
            # gRPC may have just pinged when the readers froze, so there can be one interval more.
            assert seconds < interval + timeout + interval + 2
            after = await gateway.settled(before)
            print(f"\n{count} frozen readers freed after {seconds:.1f} s; before {before}, after {after}")
            assert after.tasks <= before.tasks + 2
            assert after.descriptors <= before.descriptors
