"""What a caller may ask of the gateway for one call, of each method that is no conversation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from socket import socket
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration

from claude_grpc.rpc import watches
from claude_grpc.services import SERVICES
from claude_grpc.simulator import SimulatorOptions
from claude_grpc.v1.batches_pb2 import (
    CreateMessageBatchHeader,
    CreateMessageBatchRequest,
    MessageBatchItem,
    WatchMessageBatchRequest,
)
from claude_grpc.v1.files_pb2 import FileChunk, UploadFileHeader, UploadFileRequest
from claude_grpc.v1.models_pb2 import ListModelsRequest
from claude_grpc.v1.options_pb2 import (
    DISCONNECT_POLICY_CANCEL,
    DISCONNECT_POLICY_FINISH,
    CallOptions,
)
from claude_grpc.v1.skills_pb2 import CreateSkillHeader, CreateSkillRequest, SkillFile
from support.resource_methods import METHODS, ResourceMethod
from support.stack import Stack, drain, open_stack, params

Code = grpc.StatusCode
EACH = pytest.mark.parametrize("method", METHODS, ids=str)
SOON = Duration(nanos=200_000_000)

ALL = [method for name, service in SERVICES.items() if name != "gateway" for method in service.methods]


@pytest.mark.parametrize("method", ALL, ids=lambda method: method.name)
def test_every_method_that_asks_the_api_takes_options(method: Any) -> None:
    request = method.input_type
    head = request.fields_by_name["header"].message_type if method.client_streaming else request
    field: FieldDescriptor = head.fields_by_name["call_options"]
    assert field.message_type is CallOptions.DESCRIPTOR


async def test_a_call_has_its_own_number_of_retries() -> None:
    with socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        async with open_stack(ANTHROPIC_BASE_URL=url, max_retries=2) as stack:
            for method in METHODS:
                ended = await drain(method.call(stack, CallOptions(max_retries=0)))
                assert (ended.code, ended.info.metadata["attempts"]) == (Code.UNAVAILABLE, "1"), str(method)


async def test_and_may_want_more_than_the_setting() -> None:
    async with open_stack(max_retries=0) as stack:
        for method in METHODS:
            stack.simulator.script(*["error 529 retry-after-ms=1"] * 2)
            ended = await drain(method.call(stack, CallOptions(max_retries=1)))
            # What is sent while it comes cannot be sent again.
            once = method.head and method.service != "batches"
            assert ended.info.metadata["attempts"] == ("1" if once else "2"), str(method)


@EACH
async def test_a_call_has_its_own_read_timeout(stack: Stack, method: ResourceMethod) -> None:
    stack.simulator.script("slow-headers")
    ended = await drain(method.call(stack, CallOptions(read_timeout=SOON)))
    assert (ended.code, ended.info.reason) == (Code.UNAVAILABLE, "UPSTREAM_TIMEOUT")


@EACH
async def test_a_call_has_its_own_total_time(stack: Stack, method: ResourceMethod) -> None:
    stack.simulator.script("slow-headers")
    ended = await drain(method.call(stack, CallOptions(total_timeout=SOON)))
    assert (ended.code, ended.info.reason) == (Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
    await stack.simulator.wait_closed(stack.simulator.requests[-1])


@EACH
async def test_what_makes_no_sense_or_is_for_messages_only_is_refused_by_name(
    stack: Stack, method: ResourceMethod
) -> None:
    wrong = CallOptions(max_retries=99, fallback_models=["a"], on_disconnect=DISCONNECT_POLICY_FINISH)
    ended = await drain(method.call(stack, wrong))
    assert ended.code is Code.INVALID_ARGUMENT
    where = f"{method.head}.call_options" if method.head else "call_options"
    names = {"max_retries", "fallback_models", "on_disconnect"}
    assert ended.violations.keys() == {f"{where}.{name}" for name in names}
    assert not stack.simulator.requests


async def test_what_is_so_anyway_may_be_said(stack: Stack) -> None:
    options = CallOptions(no_fallback=True, on_disconnect=DISCONNECT_POLICY_CANCEL)
    assert (await drain(stack.models.ListModels(ListModelsRequest(call_options=options)))).code is Code.OK


async def test_the_next_page_may_be_asked_for_with_other_options(stack: Stack) -> None:
    page = await stack.models.ListModels(ListModelsRequest(page_size=1))
    options = CallOptions(max_retries=0)
    request = ListModelsRequest(page_size=1, page_token=page.next_page_token, call_options=options)
    assert (await stack.models.ListModels(request)).models


async def test_who_watches_with_other_options_is_polled_for_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "_SHORTEST", 60.0)
    async with open_stack(SimulatorOptions(batch_polls=0)) as stack:
        batch = (await stack.batches.CreateMessageBatch(batch_parts(1))).batch
        for seconds, polls in ((None, 1), (None, 1), (30, 2), (30, 2), (40, 3)):
            options = CallOptions(total_timeout=Duration(seconds=seconds)) if seconds else None
            watch = stack.batches.WatchMessageBatch(WatchMessageBatchRequest(batch_id=batch.id, call_options=options))
            await anext(aiter(watch))
            assert sum(exchange.method == "GET" for exchange in stack.simulator.requests) == polls


async def test_a_later_poll_that_takes_too_long_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "_SHORTEST", 0.02)
    async with open_stack(SimulatorOptions(batch_polls=0, batch_retry_after=0)) as stack:
        batch = (await stack.batches.CreateMessageBatch(batch_parts(1))).batch
        options = CallOptions(total_timeout=SOON)
        watch = stack.batches.WatchMessageBatch(WatchMessageBatchRequest(batch_id=batch.id, call_options=options))
        await anext(aiter(watch))
        stack.simulator.script("slow-headers")
        stack.simulator.advance_batches()
        assert (await drain(watch)).code is Code.OK


async def batch_parts(count: int | None = None, options: CallOptions | None = None) -> AsyncIterator[Any]:
    """A batch of so many items; None for one that goes on and on, a little at a time."""
    yield CreateMessageBatchRequest(header=CreateMessageBatchHeader(call_options=options))
    async for number in trickle(count):
        yield CreateMessageBatchRequest(item=MessageBatchItem(custom_id=str(number), params=params()))


async def file_parts(count: int | None, options: CallOptions | None) -> AsyncIterator[Any]:
    yield UploadFileRequest(header=UploadFileHeader(filename="a", call_options=options))
    async for number in trickle(count):
        yield UploadFileRequest(chunk=FileChunk(offset=number, data=b"a"))


async def skill_parts(count: int | None, options: CallOptions | None) -> AsyncIterator[Any]:
    yield CreateSkillRequest(header=CreateSkillHeader(call_options=options))
    yield CreateSkillRequest(file=SkillFile(path="a/SKILL.md"))
    async for number in trickle(count):
        yield CreateSkillRequest(chunk=FileChunk(offset=number, data=b"a"))


async def trickle(count: int | None) -> AsyncIterator[int]:
    for number in range(3 if count is None else count):
        yield number
        if count is None:
            await asyncio.sleep(0.02)
    if count is None:
        # And on and on. But a call that ends in the middle of a write gets no status from grpc.aio's client.
        await asyncio.Event().wait()


@pytest.mark.parametrize("by", ["request", "setting"])
@pytest.mark.parametrize(
    ("name", "parts"),
    [("CreateMessageBatch", batch_parts), ("UploadFile", file_parts), ("CreateSkill", skill_parts)],
)
async def test_a_stream_of_parts_that_never_ends_is_ended(
    name: str, parts: Callable[..., AsyncIterator[Any]], by: str
) -> None:
    async with open_stack(**({"default_deadline": 0.3} if by == "setting" else {})) as stack:
        service = {"CreateMessageBatch": stack.batches, "UploadFile": stack.files, "CreateSkill": stack.skills}[name]
        options = CallOptions(total_timeout=SOON) if by == "request" else None
        async with asyncio.timeout(20):
            ended = await drain(getattr(service, name)(parts(None, options)))
        assert (ended.code, ended.info.reason) == (Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
