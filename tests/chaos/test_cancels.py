"""Callers that leave, at any moment, leave nothing behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from statistics import linear_regression
from typing import Any

import grpc
import pytest

from chaos.process import MeasuredGateway, files, measured_gateway, stub
from chaos.upstream import Answer, NumberedUpstream
from claude_grpc.v1.files_pb2 import DownloadFileRequest, FileChunk, UploadFileHeader, UploadFileRequest
from support.stack import create, stream

CHUNK = 100_000
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
                Answer(status=0),
            ]
        )

    return answer


async def upload(randomness: random.Random) -> AsyncIterator[UploadFileRequest]:
    """A file that comes slowly, and perhaps not to its end."""
    yield UploadFileRequest(header=UploadFileHeader(filename="f"))
    for number in range(randomness.randint(0, 6)):
        await asyncio.sleep(randomness.uniform(0, 0.02))
        yield UploadFileRequest(chunk=FileChunk(offset=number * CHUNK, data=bytes(CHUNK)))
    if randomness.random() < 0.3:
        await asyncio.Event().wait()


def begin(channel: grpc.aio.Channel, randomness: random.Random) -> Any:
    """A call of any kind."""
    text = "x" * 1_000_000 if randomness.random() < 0.02 else "hello"
    timeout = randomness.choice([None, None, None, 0.03])
    match randomness.choice(["stream", "stream", "create", "create", "upload", "download"]):
        case "stream":
            return stub(channel).StreamMessage(stream(text), timeout=timeout)
        case "create":
            return stub(channel).CreateMessage(create(text), timeout=timeout)
        case "upload":
            return files(channel).UploadFile(upload(randomness), timeout=timeout)
        case _:
            return files(channel).DownloadFile(DownloadFileRequest(file_id="file_1"), timeout=timeout)


async def leave(channel: grpc.aio.Channel, randomness: random.Random) -> bool:
    """Call, and leave after up to 60 ms; whether the call was still there."""
    call = begin(channel, randomness)
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
        return sum([await leave(channel, randomness) for _ in numbers])

    async with grpc.aio.insecure_channel(gateway.target) as channel:
        return sum(await asyncio.gather(*(caller(channel, random.Random(f"{seed}.{n}")) for n in range(CALLERS))))


@pytest.mark.timeout(1800)
async def test_cancels_in_any_phase_leave_nothing_behind(at_length: bool) -> None:
    rounds, count = (10, 2500) if at_length else (1, 300)
    async with (
        NumberedUpstream(plan(1)) as upstream,
        measured_gateway(upstream.address, max_calls=CALLERS * 3 // 4, max_retries=2, breaker_failures=0) as gateway,
    ):
        # What a process takes for good it takes within its first thousands of calls.
        for _ in range(3 if at_length else 1):
            await leave_often(gateway, count, 0)
            await upstream.rest()
        before = await gateway.figures()
        before = replace(before, descriptors=before.descriptors - upstream.connections)
        memory, cancels = [before.memory], [0]
        for number in range(rounds):
            cancels.append(cancels[-1] + await leave_often(gateway, count, number + 1))
            await upstream.rest()
            after = await gateway.settled(before, idle=lambda: upstream.connections)
            memory.append(after.memory)
        slope = linear_regression(cancels, memory).slope
        print(f"\n{cancels[-1]} cancels, {slope:.0f} bytes each; before {before}, after {after}")
        assert cancels[-1] > rounds * count / 2
        assert upstream.running == 0
        assert after.tasks <= before.tasks + 2
        # One connection may have been closed while it was counted.
        assert after.descriptors <= before.descriptors + 1
        assert not at_length or slope < 200
