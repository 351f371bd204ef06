"""Callers that are gone in the middle of a stream: at once nobody works for them upstream, and nothing is left."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from claude_grpc.rpc import watches
from claude_grpc.simulator import SimulatorOptions
from claude_grpc.simulator.exchanges import Exchange
from claude_grpc.v1.batches_pb2 import (
    CreateMessageBatchHeader,
    CreateMessageBatchRequest,
    ListMessageBatchesRequest,
    MessageBatchItem,
    StreamMessageBatchResultsRequest,
    WatchMessageBatchRequest,
)
from claude_grpc.v1.batches_pb2_grpc import BatchesServiceStub
from claude_grpc.v1.files_pb2 import DownloadFileRequest, FileChunk, UploadFileHeader, UploadFileRequest
from claude_grpc.v1.skills_pb2 import (
    CreateSkillHeader,
    CreateSkillRequest,
    CreateSkillVersionHeader,
    CreateSkillVersionRequest,
    DownloadSkillVersionRequest,
    ListSkillsRequest,
    ListSkillVersionsRequest,
    SkillFile,
)
from support.cable import open_cable
from support.raw_upstream import Peer, raw_upstreams
from support.spool import CAN_TELL, spooled_files
from support.stack import Stack, gateway_before, open_stack, over, params

# The promise is 0.1 s; the rest is for a machine that does other things, too.
AT_ONCE = 1.0
# Enough to come into the middle of all streams, one after the other, on such a machine.
DEADLINE = 3.0
MIB = 1024 * 1024
OPTIONS = SimulatorOptions(batch_polls=0, batch_retry_after=0)

Middle = tuple[Any, Exchange]
"""A call, and the exchange behind it that waits for nobody but the caller."""


async def under_way(stack: Stack, method: str, path: str) -> Exchange:
    """The exchange of that method and end of the path that has not ended, once it is there."""
    number = 1
    while True:
        exchange = await stack.simulator.wait_request(number)
        if exchange.method == method and exchange.path.endswith(path) and exchange.closed_at is None:
            return exchange
        number += 1


def batch_of(count: int, text: str = "hi") -> list[CreateMessageBatchRequest]:
    items = [MessageBatchItem(custom_id=f"c{number}", params=params(text)) for number in range(count)]
    header = CreateMessageBatchRequest(header=CreateMessageBatchHeader())
    return [header, *(CreateMessageBatchRequest(item=item) for item in items)]


async def creating_a_batch(stack: Stack, limit: float | None) -> Middle:
    stack.simulator.script("slow-headers", path="*/batches")
    call = stack.batches.CreateMessageBatch(timeout=limit)
    for request in batch_of(12, "x" * 600_000):  # beyond what is kept in memory
        await call.write(request)
    await call.done_writing()
    return call, await under_way(stack, "POST", "/batches")


async def watching(stack: Stack, limit: float | None) -> Middle:
    batch_id = (await stack.batches.CreateMessageBatch(iter(batch_of(1)))).batch.id
    stack.simulator.script("", "slow-headers", path=f"*/{batch_id}")
    call = stack.batches.WatchMessageBatch(WatchMessageBatchRequest(batch_id=batch_id), timeout=limit)
    await call.read()
    return call, await under_way(stack, "GET", batch_id)


async def reading_results(stack: Stack, limit: float | None) -> Middle:
    batch_id = (await stack.batches.CreateMessageBatch(iter(batch_of(10)))).batch.id
    stack.simulator.advance_batches()
    stack.simulator.script("stall at=5", path="*/results")
    request = StreamMessageBatchResultsRequest(batch_id=batch_id)
    call = stack.batches.StreamMessageBatchResults(request, timeout=limit)
    await call.read()
    return call, await under_way(stack, "GET", "/results")


async def uploading(stack: Stack, limit: float | None) -> Middle:
    call = stack.files.UploadFile(timeout=limit)
    await call.write(UploadFileRequest(header=UploadFileHeader(filename="a", size_bytes=3 * MIB)))
    for offset in (0, MIB):
        await call.write(UploadFileRequest(chunk=FileChunk(offset=offset, data=bytes(MIB))))
    return call, await under_way(stack, "POST", "/files")


async def downloading(stack: Stack, limit: float | None) -> Middle:
    kept = stack.simulator.add_file("a", bytes(MIB))
    stack.simulator.script("stall at=100000", path=f"*/{kept.id}/content")
    call = stack.files.DownloadFile(DownloadFileRequest(file_id=kept.id), timeout=limit)
    await call.read()
    await call.read()
    return call, await under_way(stack, "GET", f"/{kept.id}/content")


MANUAL = b"---\nname: my-skill\ndescription: Does things.\n---\nDo them.\n"


def skill(kind: type[Any], header: Any) -> list[Any]:
    file = SkillFile(path="my-skill/SKILL.md", sha256=hashlib.sha256(MANUAL).digest())
    return [kind(header=header), kind(file=file), kind(chunk=FileChunk(data=MANUAL))]


async def created_skill(stack: Stack) -> Any:
    return (await stack.skills.CreateSkill(iter(skill(CreateSkillRequest, CreateSkillHeader())))).skill


async def creating_a_skill(stack: Stack, limit: float | None) -> Middle:
    call = stack.skills.CreateSkill(timeout=limit)
    for request in skill(CreateSkillRequest, CreateSkillHeader()):
        await call.write(request)
    return call, await under_way(stack, "POST", "/skills")


async def creating_a_version(stack: Stack, limit: float | None) -> Middle:
    header = CreateSkillVersionHeader(skill_id=(await created_skill(stack)).id)
    call = stack.skills.CreateSkillVersion(timeout=limit)
    for request in skill(CreateSkillVersionRequest, header):
        await call.write(request)
    return call, await under_way(stack, "POST", "/versions")


async def downloading_a_skill(stack: Stack, limit: float | None) -> Middle:
    created = await created_skill(stack)
    stack.simulator.script("stall at=100", path=f"*/skills/{created.id}/*/content")
    request = DownloadSkillVersionRequest(skill_id=created.id, version=created.latest_version_id)
    call = stack.skills.DownloadSkillVersion(request, timeout=limit)
    await call.read()
    return call, await under_way(stack, "GET", "/content")


STREAMS: list[Callable[[Stack, float | None], Awaitable[Middle]]] = [
    creating_a_batch,
    watching,
    reading_results,
    uploading,
    downloading,
    creating_a_skill,
    creating_a_version,
    downloading_a_skill,
]


async def things(stack: Stack) -> set[str]:
    """The ids of all that upstream keeps."""
    skills = (await stack.skills.ListSkills(ListSkillsRequest(source="custom"))).skills
    versions = [
        version.id
        for each in skills
        for version in (await stack.skills.ListSkillVersions(ListSkillVersionsRequest(skill_id=each.id))).versions
    ]
    batches = (await stack.batches.ListMessageBatches(ListMessageBatchesRequest())).batches
    return {*stack.simulator.files, *(each.id for each in (*skills, *batches)), *versions}


async def spool_is(files: set[str]) -> None:
    """Wait until nothing but these files is put aside; threads that read or write them may end a moment later."""
    async with asyncio.timeout(AT_ONCE):
        while CAN_TELL and spooled_files() != files:
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "_SHORTEST", 0.02)


@pytest.mark.parametrize("engine", ["aiohttp", "httpx"])
@pytest.mark.parametrize("how", ["cancel", "lost connection"])
@pytest.mark.parametrize("begin", STREAMS, ids=[each.__name__ for each in STREAMS])
async def test_a_caller_that_leaves_closes_the_connection_and_leaves_nothing(
    engine: str, how: str, begin: Callable[[Stack, float | None], Awaitable[Middle]]
) -> None:
    aside = spooled_files() if CAN_TELL else set()
    async with open_stack(OPTIONS, engine=engine) as stack, open_cable(stack.gateway.target) as cable:
        async with grpc.aio.insecure_channel(cable.target) as channel:
            call, exchange = await begin(over(stack, channel), None)
            before = await things(stack)
            if CAN_TELL and begin is creating_a_batch:
                assert spooled_files() != aside
            left_at = time.monotonic()
            if how == "cancel":
                call.cancel()
            else:
                cable.cut()
            await stack.simulator.wait_closed(exchange)
        assert exchange.closed_early
        assert exchange.closed_at is not None
        assert exchange.closed_at - left_at < AT_ONCE
        await spool_is(aside)
        assert await things(stack) == before


@pytest.mark.parametrize("engine", ["aiohttp", "httpx"])
async def test_a_deadline_ends_all_streams_likewise(engine: str) -> None:
    aside = spooled_files() if CAN_TELL else set()
    async with open_stack(OPTIONS, engine=engine) as stack:
        streams = [(*(await begin(stack, DEADLINE)), time.monotonic() + DEADLINE) for begin in STREAMS]
        before = await things(stack)
        for call, exchange, deadline in streams:
            assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            await stack.simulator.wait_closed(exchange)
            assert exchange.closed_early
            assert exchange.closed_at is not None
            assert exchange.closed_at < deadline + AT_ONCE
        await spool_is(aside)
        assert await things(stack) == before


@pytest.mark.parametrize("engine", ["aiohttp", "httpx"])
async def test_a_batch_is_not_sent_on_when_its_caller_has_left(engine: str) -> None:
    requests = batch_of(40, "x" * 600_000)  # more than the buffers on the way hold
    async with raw_upstreams() as serve:
        reached = asyncio.Event()

        async def script(peer: Peer) -> None:
            await peer.take()
            peer.transport.pause_reading()
            reached.set()
            await peer.stall()

        upstream = await serve(script)
        async with gateway_before(upstream.url, engine=engine) as (_, channel):
            call = BatchesServiceStub(channel).CreateMessageBatch(iter(requests))  # type: ignore[no-untyped-call]
            await reached.wait()
            call.cancel()
            peer = await upstream.peer()
            # Who does not read does not see an end, either.
            peer.transport.resume_reading()
            async with asyncio.timeout(AT_ONCE):
                await peer.closed
        assert peer.received < sum(request.ByteSize() for request in requests)
