"""How much the gateway's memory grows while large things pass through it. Needs Linux, for its ``/proc``.

Each job runs against a gateway and an upstream that are processes of their own. What counts is the peak of the
gateway's resident memory during the job (VmHWM, reset before) over its resident memory before the job, after smaller
jobs of each kind have filled what is filled once. Fails if a job passes its limit, or brings other than it should.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import grpc

from bench import upstream
from claude_grpc.v1.batches_pb2 import (
    CreateMessageBatchHeader,
    CreateMessageBatchRequest,
    MessageBatchItem,
    StreamMessageBatchResultsRequest,
)
from claude_grpc.v1.batches_pb2_grpc import BatchesServiceStub
from claude_grpc.v1.files_pb2 import DownloadFileRequest, FileChunk, UploadFileHeader, UploadFileRequest
from claude_grpc.v1.files_pb2_grpc import FilesServiceStub
from claude_grpc.v1.messages_pb2 import ROLE_USER, InputMessage, MessageParams

MB = 1_000_000
MIB = 1024 * 1024

Job = Callable[[], Awaitable[None]]


class Jobs:
    """What passes through the gateway."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._batches: Any = BatchesServiceStub(channel)
        self._files: Any = FilesServiceStub(channel)

    async def create_batch(self, count: int, size: int) -> None:
        """A batch of so many requests, each with a text of so many bytes."""

        async def requests() -> AsyncIterator[CreateMessageBatchRequest]:
            yield CreateMessageBatchRequest(header=CreateMessageBatchHeader())
            turn = InputMessage(role=ROLE_USER, text="x" * size)
            params = MessageParams(model="claude-opus-5-5", max_tokens=100, messages=[turn])
            for number in range(count):
                yield CreateMessageBatchRequest(item=MessageBatchItem(custom_id=f"c{number}", params=params))

        batch = (await self._batches.CreateMessageBatch(requests())).batch
        _check(batch.request_counts.processing == count)

    async def read_results(self, count: int, size: int) -> None:
        """So many results, each with a text of so many bytes."""
        request = StreamMessageBatchResultsRequest(batch_id=f"msgbatch_{count}_{size}")
        seen = 0
        async for response in self._batches.StreamMessageBatchResults(request):
            _check(response.index == seen and response.custom_id == f"c{seen}")
            _check(len(response.result.succeeded.message.content[0].text.text) == size)
            seen += 1
        _check(seen == count)

    async def upload(self, size: int) -> None:
        """A file of so many bytes, with its hash told."""
        digest = _hash(upstream.content(size))

        async def requests() -> AsyncIterator[UploadFileRequest]:
            header = UploadFileHeader(filename="a", size_bytes=size, sha256=bytes.fromhex(digest))
            yield UploadFileRequest(header=header)
            offset = 0
            for data in _chunks(size):
                yield UploadFileRequest(chunk=FileChunk(offset=offset, data=data))
                offset += len(data)

        file = (await self._files.UploadFile(requests())).file
        _check(file.size_bytes == size and digest in file.extra_json)

    async def download(self, size: int) -> None:
        """A file of so many bytes."""
        digest = hashlib.sha256()
        async for response in self._files.DownloadFile(DownloadFileRequest(file_id=f"file_{size}")):
            digest.update(response.chunk.data)
        _check(digest.hexdigest() == _hash(upstream.content(size)))


def _chunks(size: int) -> Iterator[bytes]:
    whole = bytearray()
    for block in upstream.content(size):
        whole += block
        if len(whole) >= MIB:
            yield bytes(whole)
            whole.clear()
    if whole:
        yield bytes(whole)


def _hash(blocks: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def _check(holds: bool) -> None:
    if not holds:
        raise SystemExit("what came back is not what was sent")


def _memory(process: int, name: str) -> int:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc has no {name}")


def _reset_peak(process: int) -> None:
    Path(f"/proc/{process}/clear_refs").write_text("5")


async def _measure(process: int, job: Job) -> tuple[float, float, float]:
    """Growth in MB, what of it stays, and seconds."""
    before = _memory(process, "VmRSS")
    _reset_peak(process)
    started = time.monotonic()
    await job()
    seconds = time.monotonic() - started
    return (_memory(process, "VmHWM") - before) / MB, (_memory(process, "VmRSS") - before) / MB, seconds


@contextmanager
def _process(*command: str, **environment: str) -> Iterator[tuple[int, str]]:
    """A process that prints its address in its first line; its id, and that line."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("CLAUDE_GRPC_", "ANTHROPIC_"))}
    with Popen([sys.executable, *command], stdout=PIPE, text=True, env=kept | environment) as process:
        try:
            _check(process.stdout is not None)
            yield process.pid, process.stdout.readline().strip()  # type: ignore[union-attr] # it was just checked
        finally:
            process.terminate()


async def _run(engine: str, scale: float) -> bool:
    with (
        _process(str(Path(upstream.__file__))) as (_, base_url),
        _process(
            "-m", "claude_grpc", "serve", "--listen", "127.0.0.1:0",
            ANTHROPIC_BASE_URL=base_url, ANTHROPIC_API_KEY="key", CLAUDE_GRPC_ENGINE=engine,
            CLAUDE_GRPC_LOG_LEVEL="warning",
        ) as (gateway, ready),
    ):  # fmt: skip
        async with grpc.aio.insecure_channel(ready.rpartition(" ")[2]) as channel:
            return await _run_all(gateway, Jobs(channel), scale)


async def _run_all(gateway: int, jobs: Jobs, scale: float) -> bool:
    many, large = int(100_000 * scale), int(500 * MB * scale)
    for _ in range(2):
        await jobs.create_batch(1000, 20_000)
        await jobs.read_results(1000, 20_000)
        await jobs.upload(20 * MB)
        await jobs.download(20 * MB)
    table: list[tuple[str, float, Job]] = [
        (f"batch of {many} small requests", 64, lambda: jobs.create_batch(many, 20)),
        (f"its {many} results", 64, lambda: jobs.read_results(many, 200)),
        (f"batch of {large // 2 // MB} MB", 64, lambda: jobs.create_batch(large // 200_000, 100_000)),
        (f"its {large // 200_000} results, {large // 2 // MB} MB", 64,
         lambda: jobs.read_results(large // 200_000, 100_000)),
        (f"upload of {large // MB} MB", 32, lambda: jobs.upload(large)),
        (f"download of {large // MB} MB", 32, lambda: jobs.download(large)),
    ]  # fmt: skip
    print(f"resident before: {_memory(gateway, 'VmRSS') / MB:.1f} MB; spool in {tempfile.gettempdir()}")
    print(f"{'job':<36}{'peak over before':>18}{'limit':>8}{'stays':>8}{'seconds':>9}")
    fine = True
    for name, limit, job in table:
        peak, stays, seconds = await _measure(gateway, job)
        fine = fine and peak < limit
        print(
            f"{name:<36}{peak:>15.1f} MB{limit:>5} MB{stays:>8.1f}{seconds:>9.1f}{'' if peak < limit else '  TOO MUCH'}"
        )
    return fine


def main() -> None:
    """Measure, print, and fail if it is too much."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["aiohttp", "httpx"], default="aiohttp")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the sizes, for a quick look")
    arguments = parser.parse_args()
    if not asyncio.run(_run(arguments.engine, arguments.scale)):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
