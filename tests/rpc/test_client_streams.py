"""The front's third kind of call: many requests, one answer; and that half a stream never passes for a whole one."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from claude_grpc.errors import InvalidRequestError, Violation
from claude_grpc.rpc.admission import Admission, AdmissionLimits
from claude_grpc.rpc.call import Call
from claude_grpc.rpc.front import Front
from claude_grpc.rpc.layers import observe
from claude_grpc.telemetry.calls import Telemetry
from claude_grpc.v1 import files_pb2
from claude_grpc.v1.files_pb2 import FileChunk, UploadFileRequest
from claude_grpc.v1.files_pb2_grpc import FilesServiceStub
from support.stack import drain

SERVICE = files_pb2.DESCRIPTOR.services_by_name["FilesService"]

CLIENT = """
import asyncio, sys, grpc
from claude_grpc.v1.files_pb2 import UploadFileRequest
from claude_grpc.v1.files_pb2_grpc import FilesServiceStub

async def main():
    async with grpc.aio.insecure_channel(sys.argv[1]) as channel:
        calls = [FilesServiceStub(channel).UploadFile() for _ in range(20)]
        for call in calls:
            await call.write(UploadFileRequest())
        print("written", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


class Servicer:
    """Counts the requests of an upload, in a task of its own as a transport may do; what it saw stands in ``ends``."""

    def __init__(self) -> None:
        self.ends: list[str] = []
        self.started = asyncio.Event()
        self.calls: list[Call] = []
        self._ended = asyncio.Event()

    async def upload_file(self, requests: AsyncIterator[Any], call: Call) -> Any:
        self.calls.append(call)
        reading = asyncio.ensure_future(self._read(requests))
        try:
            return files_pb2.UploadFileResponse(file=files_pb2.FileMetadata(size_bytes=await reading))
        finally:
            reading.cancel()
            await asyncio.wait([reading])
            if reading.cancelled():
                self._end("cancelled")
            else:
                self._end(type(reading.exception()).__name__ if reading.exception() else "whole")

    async def _read(self, requests: AsyncIterator[Any]) -> int:
        size = 0
        async for request in requests:
            size += len(request.chunk.data)
            self.started.set()
            if request.chunk.offset < 0:
                raise InvalidRequestError([Violation("chunk.offset", "Must not be negative.")])
            if request.chunk.offset == 77:
                raise RuntimeError("canary-text-of-an-exception")
        assert await anext(requests, None) is None, "an end stays an end"
        return size

    def _end(self, how: str) -> None:
        self.ends.append(how)
        self._ended.set()
        self._ended = asyncio.Event()

    async def wait_ends(self, count: int) -> list[str]:
        async with asyncio.timeout(10):
            while len(self.ends) < count:
                await self._ended.wait()
        return self.ends

    async def download_file(self, request: Any, call: Call) -> Any:
        raise AssertionError

    get_file = list_files = delete_file = download_file


@asynccontextmanager
async def serving(servicer: Servicer, *layers: Any) -> AsyncIterator[tuple[Any, str]]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Front(layers).handler(SERVICE, servicer),))
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        async with grpc.aio.insecure_channel(target) as channel:
            yield FilesServiceStub(channel), target  # type: ignore[no-untyped-call]
    finally:
        await server.stop(None)


def chunks(count: int, offset: int = 0) -> list[UploadFileRequest]:
    return [UploadFileRequest(chunk=FileChunk(offset=offset, data=b"x" * 10))] * count


@pytest.mark.parametrize("count", [0, 1, 1000])
async def test_a_handler_gets_all_requests_and_answers_once(count: int) -> None:
    servicer = Servicer()
    async with serving(servicer) as (stub, _):
        response = await stub.UploadFile(iter(chunks(count)), timeout=30)
    assert response.file.size_bytes == 10 * count
    assert servicer.ends == ["whole"]
    assert servicer.calls[0].method == "claude_grpc.v1.FilesService/UploadFile"
    assert servicer.calls[0].deadline is not None


async def test_an_error_ends_the_call_while_requests_still_come() -> None:
    servicer = Servicer()
    async with serving(servicer) as (stub, _):
        call = stub.UploadFile()
        await call.write(chunks(1, offset=-1)[0])
        ended = await drain(call)
    assert ended.code is grpc.StatusCode.INVALID_ARGUMENT
    assert ended.violations == {"chunk.offset": "Must not be negative."}


async def test_a_bug_in_the_middle_says_nothing_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Servicer()) as (stub, _):
        ended = await drain(stub.UploadFile(iter(chunks(1, offset=77))))
    assert ended.code is grpc.StatusCode.INTERNAL
    assert "canary" not in ended.message + str(ended.info)
    assert ended.info.metadata["errorId"] in str([vars(record) for record in caplog.records])


async def test_a_request_that_is_no_message_ends_the_call() -> None:
    servicer = Servicer()
    async with serving(servicer) as (_, target), grpc.aio.insecure_channel(target) as channel:
        send = channel.stream_unary("/claude_grpc.v1.FilesService/UploadFile")
        ended = await drain(send(iter([b"\xff\xff\xff"])))
    assert ended.code is not grpc.StatusCode.OK


@pytest.mark.parametrize("how", ["cancel", "deadline"])
async def test_a_caller_that_leaves_has_not_half_closed(how: str) -> None:
    servicer = Servicer()
    async with serving(servicer, observe(Telemetry())) as (stub, _):
        calls = [stub.UploadFile(timeout=0.3 if how == "deadline" else None) for _ in range(50)]
        for call in calls:
            await call.write(chunks(1)[0])
        await servicer.started.wait()
        if how == "cancel":
            for call in calls:
                call.cancel()
        await servicer.wait_ends(50)
    assert set(servicer.ends) == {"cancelled"}


@pytest.mark.parametrize("sent", [0, 1])
async def test_a_caller_that_sends_no_more_is_refused_in_time(sent: int) -> None:
    """It has no deadline, and the gateway has nothing to do for it."""
    servicer = Servicer()
    admission = Admission(AdmissionLimits(max_calls=1, max_queued=0, request_seconds=0.1))
    async with serving(servicer, admission.layer) as (stub, _):
        silent = stub.UploadFile()
        for chunk in chunks(sent):
            await silent.write(chunk)
        ended = await drain(silent)
        assert (ended.code, ended.info.reason) == (grpc.StatusCode.UNAVAILABLE, "GATEWAY_OVERLOADED")
        assert (await stub.UploadFile(iter(chunks(3)))).file.size_bytes == 30
    assert servicer.ends == ["GatewayOverloadedError", "whole"]


async def test_a_caller_that_dies_has_not_half_closed() -> None:
    servicer = Servicer()
    async with serving(servicer) as (_, target):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CLIENT, target, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        assert process.stdout is not None
        await process.stdout.readline()
        process.kill()
        await process.wait()
        await servicer.wait_ends(20)
    assert set(servicer.ends) == {"cancelled"}
