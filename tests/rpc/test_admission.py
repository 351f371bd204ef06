"""Admission: the layer that lets calls in, and that overload is answered at once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from claude_grpc.errors import DrainingError, GatewayOverloadedError
from claude_grpc.rpc import admission as admission_module
from claude_grpc.rpc.admission import Admission, AdmissionLimits
from claude_grpc.rpc.call import Call
from claude_grpc.simulator import RawAnswer
from claude_grpc.v1.files_pb2 import FileChunk, UploadFileHeader, UploadFileRequest
from claude_grpc.v1.files_pb2_grpc import FilesServiceStub
from claude_grpc.v1.messages_pb2_grpc import MessagesServiceStub
from support.layers import within
from support.stack import Stack, create, drain, gateway_before, open_stack, stream

KB = 1024
# Room for two reservations, and one read without.
LIMITS = AdmissionLimits(
    max_calls=4, max_queued=2, queue_seconds=30, max_bytes=200 * KB, max_request_bytes=100 * KB, unreserved_reads=1
)


def call(deadline: float | None = None) -> Call:
    return Call("service/Method", deadline=None if deadline is None else time.monotonic() + deadline)


async def bring(size: int) -> bytes:
    return bytes(size)


async def test_a_call_that_waits_comes_in_when_another_ends() -> None:
    admission = Admission(AdmissionLimits(max_calls=1, max_queued=1))
    async with AsyncExitStack() as running:
        await running.enter_async_context(within(admission.layer, call()))
        waiting = asyncio.create_task(AsyncExitStack().enter_async_context(within(admission.layer, call())))
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting


@pytest.mark.parametrize("seconds", [None, 0.05, -1.0])
async def test_a_call_that_waits_in_vain_is_refused_before_its_deadline(seconds: float | None) -> None:
    admission = Admission(AdmissionLimits(max_calls=1, max_queued=1, queue_seconds=0.03))
    async with within(admission.layer, call()):
        began = time.monotonic()
        waiting = call(seconds)
        with pytest.raises(GatewayOverloadedError) as refused:
            async with within(admission.layer, waiting):
                raise AssertionError
        assert waiting.deadline is None or time.monotonic() < max(waiting.deadline, began + 0.05)
        assert 0.5 <= (refused.value.retry_after or 0) <= 1.5
    async with within(admission.layer, call()):
        pass


async def test_a_caller_that_leaves_the_queue_leaves_no_trace() -> None:
    admission = Admission(AdmissionLimits(max_calls=1, max_queued=1))
    async with within(admission.layer, call()):
        waiting = asyncio.create_task(AsyncExitStack().enter_async_context(within(admission.layer, call())))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with within(admission.layer, call()):
        pass


async def test_when_the_gateway_drains_those_who_wait_are_sent_elsewhere() -> None:
    admission = Admission(AdmissionLimits(max_calls=1, max_queued=1))
    async with within(admission.layer, call()):
        waiting = asyncio.create_task(AsyncExitStack().enter_async_context(within(admission.layer, call())))
        await asyncio.sleep(0)
        admission.close()
        with pytest.raises(DrainingError):
            await waiting
        with pytest.raises(DrainingError):
            await AsyncExitStack().enter_async_context(within(admission.layer, call()))


async def test_a_request_that_does_not_fit_is_refused_and_a_small_one_is_not() -> None:
    admission = Admission(LIMITS)
    async with AsyncExitStack() as stack:
        calls = [call() for _ in range(4)]
        for one in calls[:2]:
            await stack.enter_async_context(within(admission.layer, one))
            await one.share.receive(lambda: bring(100 * KB))
        async with within(admission.layer, calls[2]):
            with pytest.raises(GatewayOverloadedError, match="memory"):
                await calls[2].share.receive(lambda: bring(100 * KB))
        async with within(admission.layer, calls[3]):
            assert len(await calls[3].share.receive(lambda: bring(KB))) == KB


async def test_a_request_that_is_long_in_coming_makes_way_when_memory_is_short() -> None:
    admission = Admission(LIMITS)
    async with AsyncExitStack() as stack:
        calls = [call() for _ in range(3)]
        for one in calls:
            await stack.enter_async_context(within(admission.layer, one))
        slow = [asyncio.create_task(one.share.receive(lambda: asyncio.sleep(0.4, b"x"))) for one in calls]
        assert [await one for one in slow[:2]] == [b"x", b"x"]
        with pytest.raises(GatewayOverloadedError, match="too long in coming"):
            await slow[2]


async def test_the_parts_of_a_request_are_charged_one_by_one() -> None:
    admission = Admission(LIMITS)
    async with AsyncExitStack() as stack:
        calls = [call() for _ in range(3)]
        for one in calls:
            await stack.enter_async_context(within(admission.layer, one))
        for _ in range(5):
            for one in calls[:2]:
                assert len(await one.share.receive_next(lambda: bring(100 * KB)) or b"") == 100 * KB
        with pytest.raises(GatewayOverloadedError, match="memory"):
            await calls[2].share.receive_next(lambda: bring(100 * KB))
        assert await calls[0].share.receive_next(lambda: asyncio.sleep(0, None)) is None
        assert len(await calls[2].share.receive_next(lambda: bring(100 * KB)) or b"") == 100 * KB


async def test_large_parts_are_read_in_turns_which_who_is_long_in_coming_loses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission_module, "_TURN_SECONDS", 0.2)
    admission = Admission(AdmissionLimits(max_bytes=100 * KB, max_request_bytes=100 * KB, queue_seconds=5))
    arriving = asyncio.Event()
    reading: list[str] = []

    def part(name: str, size: int) -> Callable[[], Awaitable[bytes]]:
        async def read() -> bytes:
            reading.append(name)
            await arriving.wait()
            return bytes(size)

        return read

    async with AsyncExitStack() as stack:
        first, second = call(), call()
        for one in (first, second):
            await stack.enter_async_context(within(admission.layer, one))
            one.share.expect_large()
        large = asyncio.create_task(first.share.receive_next(part("large", 90 * KB)))
        waiting = asyncio.create_task(second.share.receive_next(part("small", 10)))
        await asyncio.sleep(0.05)
        assert reading == ["large"]
        while len(reading) < 2:
            await asyncio.sleep(0.01)
        arriving.set()
        assert (len(await large or b""), len(await waiting or b"")) == (90 * KB, 10)
        # Whose part was small needs no turn for the next one.
        arriving.clear()
        waiting = asyncio.create_task(first.share.receive_next(part("large", 90 * KB)))
        more = asyncio.create_task(second.share.receive_next(part("small", 10)))
        await asyncio.sleep(0)
        assert len(reading) == 4
        arriving.set()
        await asyncio.gather(waiting, more)


async def test_who_waits_too_long_for_a_turn_is_refused() -> None:
    admission = Admission(AdmissionLimits(max_bytes=100 * KB, max_request_bytes=100 * KB, queue_seconds=0.02))
    async with AsyncExitStack() as stack:
        first, second = call(), call()
        for one in (first, second):
            await stack.enter_async_context(within(admission.layer, one))
            one.share.expect_large()
        silent = asyncio.create_task(first.share.receive_next(asyncio.Event().wait))
        await asyncio.sleep(0)
        with pytest.raises(GatewayOverloadedError, match="large requests"):
            await second.share.receive_next(lambda: bring(10))
        silent.cancel()


@pytest.mark.parametrize("what", ["receive", "receive_next"])
async def test_a_caller_that_sends_nothing_does_not_keep_its_place(what: str) -> None:
    admission = Admission(AdmissionLimits(request_seconds=0.05))
    silent = call()
    async with within(admission.layer, silent):
        with pytest.raises(GatewayOverloadedError, match="too long in coming"):
            await getattr(silent.share, what)(asyncio.Event().wait)


@pytest.mark.parametrize("what", ["receive", "receive_next"])
async def test_a_timeout_of_the_reading_itself_is_not_taken_for_ours(what: str) -> None:
    async def fail() -> bytes:
        raise TimeoutError("the reader's own")

    admission = Admission(LIMITS)
    reading = call()
    async with within(admission.layer, reading):
        with pytest.raises(TimeoutError, match="own"):
            await getattr(reading.share, what)(fail)


# The simulator would read what it is sent, at a megabyte a third of a second.
ANSWER = RawAnswer((b'{"id":"m","type":"message","content":[]}',), content_type="application/json")


async def refuse_one(stack: Stack, request: Message, kind: str) -> None:
    began = time.monotonic()
    ended = await drain(getattr(stack.messages, kind)(request))
    assert (ended.code, ended.info.reason) == (grpc.StatusCode.UNAVAILABLE, "GATEWAY_OVERLOADED")
    assert ended.info.metadata["safeToRetry"] == "true"
    assert 0.5 <= (ended.retry_seconds or 0) <= 1.5
    assert 500 <= int(ended.trailers["grpc-retry-pushback-ms"]) <= 1500
    assert time.monotonic() - began < 1  # that it is 20 ms is measured where nothing else runs: tests/chaos


async def test_a_full_gateway_refuses_at_once_and_stays_healthy() -> None:
    async with open_stack(max_calls=2, max_queued_calls=0) as stack:
        stack.simulator.script("stall at=1", "stall at=1")
        running = [stack.messages.StreamMessage(stream()) for _ in range(2)]
        for one in running:
            await one.read()
        await refuse_one(stack, create(), "CreateMessage")
        await refuse_one(stack, stream(), "StreamMessage")
        health = health_pb2_grpc.HealthStub(stack.channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
        running[0].cancel()
        while (await drain(stack.messages.CreateMessage(create()))).code is not grpc.StatusCode.OK:
            pass  # the cancel has to arrive
        running[1].cancel()


async def test_a_request_of_the_largest_size_comes_in_again_and_again() -> None:
    async with open_stack(max_bytes_in_flight=40 * KB * KB) as stack:
        stack.simulator.script(*[ANSWER] * 3)
        for _ in range(3):
            ended = await drain(stack.messages.CreateMessage(create("x" * 30_000_000)))
            assert ended.code is grpc.StatusCode.OK, ended


async def test_requests_that_wait_are_not_in_memory_and_come_in_one_by_one() -> None:
    async with open_stack(max_bytes_in_flight=40 * KB * KB, queue_timeout=30) as stack:
        stack.simulator.script(*[ANSWER] * 8)
        calls = [stack.messages.CreateMessage(create("x" * 10_000_000)) for _ in range(8)]
        ended = await asyncio.gather(*map(drain, calls))
        codes = Counter((one.code, one.info.reason) for one in ended)
        assert set(codes) <= {(grpc.StatusCode.OK, ""), (grpc.StatusCode.UNAVAILABLE, "GATEWAY_OVERLOADED")}
        assert codes[grpc.StatusCode.OK, ""] >= 4


# Room for one large request.
SMALL_POD = {"max_request_bytes": 2 * KB * KB, "max_bytes_in_flight": 2 * KB * KB}
NO_ROOM = (grpc.StatusCode.UNAVAILABLE, "GATEWAY_OVERLOADED")


def file_of(chunks: int, size: int = KB * KB) -> Iterator[UploadFileRequest]:
    yield UploadFileRequest(header=UploadFileHeader(filename="f"))
    for number in range(chunks):
        yield UploadFileRequest(chunk=FileChunk(offset=number * size, data=bytes(size)))


async def test_a_part_of_an_upload_that_does_not_fit_is_refused() -> None:
    async with open_stack(**SMALL_POD) as stack:
        stack.simulator.script("slow-headers")
        running = stack.messages.CreateMessage(create("x" * 1_500_000))
        await stack.simulator.wait_request()
        ended = await drain(stack.files.UploadFile(file_of(1)))
        assert (ended.code, ended.info.reason) == NO_ROOM
        assert ended.info.metadata["safeToRetry"] == "true"
        assert 500 <= int(ended.trailers["grpc-retry-pushback-ms"]) <= 1500
        assert (await drain(stack.files.UploadFile(file_of(100, 10_000)))).code is grpc.StatusCode.OK
        running.cancel()
        while (ended := await drain(stack.files.UploadFile(file_of(3)))).code is not grpc.StatusCode.OK:
            assert (ended.code, ended.info.reason) == NO_ROOM  # the cancel has to arrive


async def test_an_upload_is_charged_for_the_part_that_upstream_has_not_taken() -> None:
    async with (
        upstream_that_takes_nothing() as base_url,
        gateway_before(base_url, **SMALL_POD) as (gateway, channel),
    ):
        sent: list[UploadFileRequest] = []
        parts = (sent.append(part) or part for part in file_of(100))
        stuck = FilesServiceStub(channel).UploadFile(parts)  # type: ignore[no-untyped-call]
        still = 0
        while still < 10:  # until the buffers of all kernels are full
            before = len(sent)
            await asyncio.sleep(0.1)
            still = still + 1 if len(sent) == before and gateway.admission.load.bytes > KB * KB else 0
        messages: Any = MessagesServiceStub(channel)  # type: ignore[no-untyped-call]
        ended = await drain(messages.CreateMessage(create("x" * 1_500_000), timeout=5))
        assert (ended.code, ended.info.reason) == NO_ROOM
        stuck.cancel()


@asynccontextmanager
async def upstream_that_takes_nothing() -> AsyncIterator[str]:
    writers = []

    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_server(ignore, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
