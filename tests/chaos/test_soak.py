"""All kinds of calls for long, a fifth of them cancelled, many failing, some hardly read: nothing grows.

The gateway is a process of its own. Its load rests between rounds, for what it holds then is held by nobody.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from statistics import linear_regression
from typing import Any
from urllib.parse import urlsplit

import google_crc32c
import grpc
import pytest

from chaos.process import Figures, MeasuredGateway, measured_gateway, stub
from chaos.proxy import CLEAN, ChaosProxy, Path, Weather
from claude_grpc.simulator import Simulator, SimulatorOptions
from claude_grpc.v1.files_pb2 import (
    DeleteFileRequest,
    DownloadFileRequest,
    FileChunk,
    UploadFileHeader,
    UploadFileRequest,
)
from claude_grpc.v1.files_pb2_grpc import FilesServiceStub
from support.stack import Ended, create, drain, stream

CALLERS = 16
CANCELLED = 0.2
CHUNK = b"x" * 256 * 1024
FAULTS = [
    "[[error 529]] hello",
    "[[error 500 times=1]] hello",
    "[[error 429 retry-after-ms=50]] hello",
    "[[error-event at=4]] hello",
    "[[cut at=5]] hello",
    "[[truncate at=4]] hello",
    "[[reset at=3]] hello",
    "[[stall at=4]] hello",
    "[[bad-json at=3]] hello",
    "[[slow-headers 0.3]] hello",
]
# What a call may come to; anything else is a fault of the gateway.
ENDS = {"OK", "CANCELLED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "INTERNAL"}
Finish = Callable[[Any], Awaitable[Ended | None]]


class Caller:
    """Calls all kinds of methods, one after the other; what came of it is counted in ``ends``."""

    def __init__(self, target: str, seed: str, ends: Counter[str]) -> None:
        self._target = target
        self._random = random.Random(seed)
        self._ends = ends

    async def call_until(self, time: float) -> None:
        """Call until the loop's clock says so."""
        async with grpc.aio.insecure_channel(self._target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            while asyncio.get_running_loop().time() < time:
                await self._random.choices([self._message, self._files, self._read_slowly], [16, 3, 1])[0](channel)

    async def _message(self, channel: grpc.aio.Channel) -> None:
        text = (
            self._random.choice(FAULTS)
            if self._random.random() < 0.25
            else self._random.choice(["hello", "y" * 50_000])
        )
        if self._random.random() < 0.4:
            await self._end("unary", stub(channel).CreateMessage(create(text), timeout=1.5))
        else:
            await self._end("stream", stub(channel).StreamMessage(stream(text), timeout=1.5))

    async def _read_slowly(self, channel: grpc.aio.Channel) -> None:
        async def read(call: Any) -> None:
            with suppress(grpc.aio.AioRpcError):
                for _ in range(100):
                    if await call.read() is grpc.aio.EOF:
                        return
                    await asyncio.sleep(0.01)
            call.cancel()

        await self._end("slow reader", stub(channel).StreamMessage(stream("[[repeat 20000]] hello")), read)

    async def _files(self, channel: grpc.aio.Channel) -> None:
        files: Any = FilesServiceStub(channel)  # type: ignore[no-untyped-call]
        ended = await self._end("upload", files.UploadFile(self._upload()))
        if ended and ended.code is grpc.StatusCode.OK:
            file_id = ended.events[0].file.id  # type: ignore[attr-defined] # not of a stream
            await self._end("download", files.DownloadFile(DownloadFileRequest(file_id=file_id)))
            await drain(files.DeleteFile(DeleteFileRequest(file_id=file_id)))

    async def _upload(self) -> AsyncIterator[UploadFileRequest]:
        yield UploadFileRequest(header=UploadFileHeader(filename="[[downloadable]].bin", mime_type="text/plain"))
        for number in range(self._random.randint(1, 16)):
            chunk = FileChunk(offset=number * len(CHUNK), data=CHUNK, crc32c=google_crc32c.value(CHUNK))
            yield UploadFileRequest(chunk=chunk)

    async def _end(self, kind: str, call: Any, finish: Finish = drain) -> Ended | None:
        """Let a call end, or cancel it at some moment."""
        timer = None
        if self._random.random() < CANCELLED:
            delay = self._random.expovariate(1 / 0.05)
            timer = asyncio.get_running_loop().call_later(delay, call.cancel)
        try:
            ended = await finish(call)
        except asyncio.CancelledError:
            ended = None
        if timer:
            timer.cancel()
        code = (await call.code()).name
        self._ends[kind] += 1
        self._ends[code] += 1
        assert code in ENDS, f"{kind}: {code} {await call.details()}"
        return ended


def weather(number: int) -> Weather:
    """Every tenth connection upstream does not live long."""
    chance = random.Random(number)
    if chance.random() > 0.1:
        return CLEAN
    return Weather(back=Path(latency=0.01, end=chance.choice(["cut", "reset"]), after=chance.randint(1, 20_000)))


async def one_round(gateway: MeasuredGateway, seconds: float, seed: str, ends: Counter[str]) -> None:
    time = asyncio.get_running_loop().time() + seconds
    await asyncio.gather(
        *(Caller(gateway.target, f"{seed} {number}", ends).call_until(time) for number in range(CALLERS))
    )


def slopes(samples: list[Figures], minutes: float) -> dict[str, float]:
    """Growth in a minute, once the first quarter has brought what every process needs."""
    late = samples[len(samples) // 4 :]
    times = [minutes * index for index in range(len(late))]
    return {
        name: linear_regression(times, [getattr(figures, name) for figures in late]).slope
        for name in ("memory", "blocks", "descriptors", "tasks")
    }


@pytest.mark.timeout(7200)
async def test_nothing_grows(at_length: bool) -> None:
    minutes = float(os.environ.get("CLAUDE_GRPC_TEST_MINUTES", "10")) if at_length else 0.05
    rounds = max(2, round(minutes * 4))
    ends: Counter[str] = Counter()
    samples: list[Figures] = []
    options = SimulatorOptions(history=0, delta_interval=0.002)
    async with Simulator(options) as simulator:
        host = urlsplit(simulator.base_url)
        async with (
            ChaosProxy((str(host.hostname), int(host.port or 0)), weather) as proxy,
            measured_gateway(proxy.address, read_timeout=2, max_calls=CALLERS, breaker_failures=0) as gateway,
        ):
            empty = await gateway.figures()
            for number in range(rounds):
                cancelled = ends["CANCELLED"]
                await one_round(gateway, minutes * 60 / rounds, str(number), ends)
                samples.append(await gateway.settled(empty, 10, idle=lambda: proxy.open))
                print(f"\n{number}: {samples[-1]}, {ends['CANCELLED'] - cancelled} cancelled", end="")
    growth = slopes(samples, minutes / rounds)
    calls = sum(ends[kind] for kind in ("unary", "stream", "slow reader", "upload", "download"))
    print(f"\n{minutes:g} minutes, {calls} calls: {dict(ends.most_common())}")
    print("a minute: " + ", ".join(f"{slope:+.1f} {name}" for name, slope in growth.items()))
    assert ends["OK"] > calls / 3
    assert ends["CANCELLED"] > calls / 20
    assert samples[-1].tasks <= empty.tasks + 1
    assert samples[-1].descriptors <= empty.descriptors + 1
    if at_length:
        assert abs(growth["tasks"]) < 0.1
        assert abs(growth["descriptors"]) < 0.1
        assert growth["blocks"] < 0.1 * calls / minutes
        # What Python holds is exact; what the process does moves by a megabyte up and down. And gRPC keeps something of
        # each cancelled call.
        assert growth["memory"] < 200 * ends["CANCELLED"] / minutes + 512 * 1024
