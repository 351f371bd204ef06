"""Batches watched through a gateway, and what a poll costs upstream."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import grpc
import pytest

from claude_grpc.rpc import watches
from claude_grpc.simulator import SimulatorOptions
from claude_grpc.v1.batches_pb2 import (
    MESSAGE_BATCH_STATE_ENDED,
    MESSAGE_BATCH_STATE_IN_PROGRESS,
    CreateMessageBatchHeader,
    CreateMessageBatchRequest,
    DeleteMessageBatchRequest,
    MessageBatchItem,
    WatchMessageBatchRequest,
)
from support.stack import Stack, drain, open_stack, params

# The promise is 0.1 s; the rest is for a machine that does other things, too.
AT_ONCE = 1.0
RUNNING, ENDED = MESSAGE_BATCH_STATE_IN_PROGRESS, MESSAGE_BATCH_STATE_ENDED


async def create(stack: Stack) -> str:
    requests = [
        CreateMessageBatchRequest(header=CreateMessageBatchHeader()),
        CreateMessageBatchRequest(item=MessageBatchItem(custom_id="a", params=params())),
    ]
    batch_id: str = (await stack.batches.CreateMessageBatch(iter(requests))).batch.id
    return batch_id


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "_SHORTEST", 0.02)


OPTIONS = SimulatorOptions(batch_polls=0, batch_retry_after=0)


@pytest.mark.usefixtures("_quick")
async def test_all_callers_see_the_end_and_one_poll_is_made_for_them() -> None:
    async with open_stack(OPTIONS) as stack:
        request = WatchMessageBatchRequest(batch_id=await create(stack))
        calls = [stack.batches.WatchMessageBatch(request) for _ in range(200)]
        for call in calls:
            assert (await anext(aiter(call))).batch.state == RUNNING
        stack.simulator.advance_batches()
        for call in calls:
            done = await drain(call)
            assert done.code is grpc.StatusCode.OK
            assert [each.batch.state for each in done.events] == [ENDED]  # type: ignore[attr-defined]
            assert done.trailers["request-id"]
        polls = [exchange for exchange in stack.simulator.requests if exchange.method == "GET"]
        assert len(polls) < 50
        for earlier, later in pairwise(polls):
            assert earlier.closed_at is not None
            assert earlier.closed_at <= later.opened_at


@pytest.mark.usefixtures("_quick")
async def test_callers_that_leave_stop_the_polling() -> None:
    async with open_stack(OPTIONS) as stack:
        request = WatchMessageBatchRequest(batch_id=await create(stack))
        calls = [stack.batches.WatchMessageBatch(request) for _ in range(5)]
        for call in calls:
            await anext(aiter(call))
        for call in calls:
            call.cancel()
        seen = -1
        while len(stack.simulator.requests) != seen:
            seen = len(stack.simulator.requests)
            await asyncio.sleep(0.3)


@pytest.mark.usefixtures("_quick")
async def test_a_batch_that_is_deleted_is_not_found_any_more() -> None:
    async with open_stack(OPTIONS) as stack:
        ended = await drain(stack.batches.WatchMessageBatch(WatchMessageBatchRequest(batch_id="msgbatch_gone")))
        assert (ended.code, ended.info.reason, ended.events) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND", [])
        batch_id = await create(stack)
        call = stack.batches.WatchMessageBatch(WatchMessageBatchRequest(batch_id=batch_id))
        await anext(aiter(call))
        stack.simulator.script("error 404", path=f"*/{batch_id}")
        assert (await drain(call)).code is grpc.StatusCode.NOT_FOUND
        stack.simulator.advance_batches()
        await stack.batches.DeleteMessageBatch(DeleteMessageBatchRequest(batch_id=batch_id))


async def test_a_drain_waits_for_no_batch_and_sends_its_watchers_elsewhere() -> None:
    async with open_stack(OPTIONS, drain_delay=0.1, drain_grace=30) as stack:
        call = stack.batches.WatchMessageBatch(WatchMessageBatchRequest(batch_id=await create(stack)))
        assert (await anext(aiter(call))).batch.state == RUNNING
        async with asyncio.timeout(10):
            ended, _ = await asyncio.gather(drain(call), stack.gateway.drain())
        assert (ended.code, ended.info.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
        assert (ended.info.domain, ended.info.metadata["safeToRetry"]) == ("claude-grpc", "true")
        assert ended.retry_seconds == 0.1


async def test_what_is_no_batch_is_refused(stack: Stack) -> None:
    ended = await drain(stack.batches.WatchMessageBatch(WatchMessageBatchRequest()))
    assert (ended.code, list(ended.violations)) == (grpc.StatusCode.INVALID_ARGUMENT, ["batch_id"])
