"""Batches on their way in, and what is asked of them later."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from typing import Any

import grpc
import pytest

from claude_grpc.simulator import SimulatorOptions
from claude_grpc.v1.batches_pb2 import (
    MESSAGE_BATCH_STATE_CANCELING,
    MESSAGE_BATCH_STATE_ENDED,
    MESSAGE_BATCH_STATE_IN_PROGRESS,
    MESSAGE_BATCH_STATE_UNSPECIFIED,
    CancelMessageBatchRequest,
    CreateMessageBatchHeader,
    CreateMessageBatchRequest,
    DeleteMessageBatchRequest,
    GetMessageBatchRequest,
    ListMessageBatchesRequest,
    MessageBatch,
    MessageBatchItem,
)
from claude_grpc.v1.batches_pb2_grpc import BatchesServiceStub
from claude_grpc.v1.messages_pb2 import MessageParams
from support.raw_upstream import Peer, raw_upstreams
from support.spool import CAN_TELL, spooled_files
from support.stack import Stack, drain, gateway_before, open_stack, params

OK, INVALID = grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT
# The promise is 0.1 s; the rest is for a machine that does other things, too.
AT_ONCE = 1.0


def header(**fields: Any) -> CreateMessageBatchRequest:
    return CreateMessageBatchRequest(header=CreateMessageBatchHeader(**fields))


def item(custom_id: str, text: str = "hi", **fields: Any) -> CreateMessageBatchRequest:
    return CreateMessageBatchRequest(item=MessageBatchItem(custom_id=custom_id, params=params(text, **fields)))


def batch_of(count: int, **fields: Any) -> Iterator[CreateMessageBatchRequest]:
    yield header(**fields)
    for number in range(count):
        yield item(f"c{number}")


async def create(stack: Stack, requests: Iterable[CreateMessageBatchRequest]) -> MessageBatch:
    batch: MessageBatch = (await stack.batches.CreateMessageBatch(iter(requests))).batch
    return batch


@pytest.mark.parametrize("engine", ["aiohttp", "httpx"])
async def test_a_batch_is_created_as_it_was_sent(engine: str) -> None:
    async with open_stack(engine=engine) as stack:
        batch = await create(stack, [header(), item("a", "one"), item("b", "two", system_text="é")])
        assert batch.id.startswith("msgbatch_")
        assert (batch.type, batch.state) == ("message_batch", MESSAGE_BATCH_STATE_IN_PROGRESS)
        assert batch.state_raw == "in_progress"
        assert batch.request_counts.processing == 2
        assert batch.expire_time.seconds - batch.create_time.seconds == 86_400
        assert not batch.HasField("end_time")
        exchange = stack.simulator.requests[-1]
        assert exchange.headers["content-length"] == str(len(exchange.body))
        assert exchange.headers["content-type"] == "application/json"
        body = json.loads(exchange.body)
        assert [each["custom_id"] for each in body["requests"]] == ["a", "b"]
        assert body["requests"][1]["params"]["system"] == "é"
        assert list(body) == ["requests"]


async def test_the_same_batch_gives_the_same_bytes(stack: Stack) -> None:
    await create(stack, batch_of(3))
    await create(stack, batch_of(3))
    first, second = stack.simulator.requests
    assert first.body == second.body
    asked = b'{"model":"claude-opus-5-5","max_tokens":1000,"messages":[{"role":"user","content":"hi"}]}'
    items = [b'{"custom_id":"c%d","params":%s}' % (number, asked) for number in range(3)]
    assert first.body == b'{"requests":[' + b",".join(items) + b"]}"


async def test_headers_and_further_parameters_are_those_of_the_header() -> None:
    async with raw_upstreams() as serve:
        received = asyncio.get_running_loop().create_future()

        async def script(peer: Peer) -> None:
            received.set_result(await peer.request())
            peer.respond(200, b'{"id":"b"}')

        upstream = await serve(script)
        fields = {"betas": ["b-1"], "user_profile_id": "u", "workspace_id": "w", "extra_json": ' {"x": 1.0, "y":{}} '}
        async with gateway_before(upstream.url) as (_, channel):
            await BatchesServiceStub(channel).CreateMessageBatch(batch_of(1, **fields))  # type: ignore[no-untyped-call]
        request = await received
        assert request.line == "POST /v1/messages/batches HTTP/1.1"
        assert request.header("anthropic-beta") == "b-1"
        assert request.header("anthropic-user-profile-id") == "u"
        assert request.header("anthropic-workspace-id") == "w"
        assert request.body.endswith(b'],"x": 1.0, "y":{}}')
        assert json.loads(request.body)["y"] == {}


EMPTY = CreateMessageBatchRequest(item=MessageBatchItem())
BAD_STREAMS: dict[str, tuple[list[CreateMessageBatchRequest], set[str]]] = {
    "nothing": ([], {"header"}),
    "no header": ([item("a")], {"header"}),
    "a header twice": ([header(), header()], {"header"}),
    "a header after an item": ([header(), item("a"), header()], {"header"}),
    "an empty message": ([header(), CreateMessageBatchRequest()], {"part"}),
    "a part of a newer version": ([header(), CreateMessageBatchRequest.FromString(b"\x3a\x00")], {"#7"}),
    "an item without anything": ([header(), item("a"), EMPTY], {"items[1].custom_id", "items[1].params"}),
    "an item without a name": ([header(), item("")], {"items[0].custom_id"}),
    "items that are wrong inside": (
        [header(), item("a"), item("b"), item("c", model="", messages=[])],
        {"items[2].params.model", "items[2].params.messages"},
    ),
    "an item that is no JSON": ([header(), item("a", extra_json="{")], {"items[0].params.extra_json"}),
    "a name twice": ([header(), item("a"), item("b"), item("a")], {"items[2].custom_id"}),
    "a parameter of a newer version": (
        [header(), CreateMessageBatchRequest.FromString(b"\x12\x05\x0a\x01a\x52\x00")],
        {"items[0].#10", "items[0].params"},
    ),
    "a beta that breaks out": ([header(betas=["a\r\nb"]), item("a")], {"header.betas[0]"}),
    "more that is no JSON": ([header(extra_json="{"), item("a")], {"header.extra_json"}),
    "more that is no object": ([header(extra_json="3"), item("a")], {"header.extra_json"}),
    "more that is the items": ([header(extra_json='{"requests":[]}'), item("a")], {"header.extra_json"}),
}


@pytest.mark.parametrize("what", BAD_STREAMS)
async def test_a_stream_that_is_wrong_is_refused_before_anything_is_sent(stack: Stack, what: str) -> None:
    requests, paths = BAD_STREAMS[what]
    ended = await drain(stack.batches.CreateMessageBatch(iter(requests)))
    assert (ended.code, set(ended.violations)) == (INVALID, paths)
    assert ended.info.domain == "claude-grpc"
    assert not stack.simulator.requests


async def test_a_wrong_item_ends_the_call_before_the_next_ones_come(stack: Stack) -> None:
    call = stack.batches.CreateMessageBatch()
    for request in (header(), item("a"), item("a")):
        await call.write(request)
    ended = await drain(call)  # without a half-close
    assert (ended.code, list(ended.violations)) == (INVALID, ["items[1].custom_id"])
    assert "items[0]" in ended.violations["items[1].custom_id"]


async def test_too_many_items_are_refused_at_the_first_that_is_one() -> None:
    async with open_stack(max_batch_requests=3) as stack:
        assert (await create(stack, batch_of(3))).request_counts.processing == 3
        ended = await drain(stack.batches.CreateMessageBatch(batch_of(4)))
        assert (ended.code, ended.info.reason) == (INVALID, "REQUEST_TOO_LARGE")
        [(path, text)] = ended.violations.items()
        assert (path, "at most 3" in text) == ("items[3]", True)
        assert len(stack.simulator.requests) == 1


async def test_too_many_bytes_are_refused_at_the_item_that_passes_the_limit() -> None:
    async with open_stack(max_batch_bytes=100_000) as stack:
        requests = [header(), *(item(f"c{n}", "x" * 10_000) for n in range(20))]
        ended = await drain(stack.batches.CreateMessageBatch(iter(requests)))
        assert (ended.code, ended.info.reason, list(ended.violations)) == (INVALID, "REQUEST_TOO_LARGE", ["items[9]"])
        assert not stack.simulator.requests


async def test_the_last_byte_of_the_limit_may_be_used() -> None:
    async with open_stack() as stack:
        await create(stack, batch_of(30))
        size = len(stack.simulator.requests[-1].body)
    async with open_stack(max_batch_bytes=size) as stack:
        await create(stack, batch_of(30))
    async with open_stack(max_batch_bytes=size - 1) as stack:
        ended = await drain(stack.batches.CreateMessageBatch(batch_of(30)))
        assert list(ended.violations) == ["items[29]"]


async def test_what_upstream_refuses_is_passed_on(stack: Stack) -> None:
    ended = await drain(stack.batches.CreateMessageBatch(iter([header()])))
    assert (ended.code, ended.info.domain) == (INVALID, "api.anthropic.com")
    assert list(ended.violations) == ["requests"]
    async with open_stack(SimulatorOptions(max_batch_bytes=1000)) as small:
        ended = await drain(small.batches.CreateMessageBatch(batch_of(20)))
        assert (ended.code, ended.info.reason) == (INVALID, "REQUEST_TOO_LARGE")
        assert ended.info.domain == "api.anthropic.com"


@pytest.mark.parametrize("engine", ["aiohttp", "httpx"])
async def test_a_large_batch_is_sent_again_when_upstream_was_busy(engine: str) -> None:
    async with open_stack(engine=engine, max_retries=2) as stack:
        stack.simulator.script("error 529 retry-after-ms=1", "error 500 retry-after-ms=1")
        requests = [header(), *(item(f"c{n}", "x" * 600_000) for n in range(12))]  # beyond what is kept in memory
        ended = await drain(stack.batches.CreateMessageBatch(iter(requests)))
        assert ended.code is OK, ended.message
        assert ended.trailers["claude-grpc-attempts"] == "3"
        assert ended.events[0].batch.request_counts.processing == 12  # type: ignore[attr-defined]
        sizes = {exchange.received for exchange in stack.simulator.requests}
        assert len(sizes) == 1


@pytest.mark.skipif(not CAN_TELL, reason="needs Linux's /proc")
@pytest.mark.parametrize("how", ["cancel", "deadline", "violation", "success"])
async def test_what_was_spooled_is_gone_however_the_call_ends(stack: Stack, how: str) -> None:
    before = spooled_files()
    call = stack.batches.CreateMessageBatch(timeout=3.0 if how == "deadline" else None)
    await call.write(header())
    for number in range(12):
        await call.write(item(f"c{number}", "x" * 600_000))
    while spooled_files() == before:
        await asyncio.sleep(0.01)
    if how == "cancel":
        call.cancel()
    elif how == "violation":
        await call.write(item("c1"))
    elif how == "success":
        await call.done_writing()
        assert (await call).batch.id
    async with asyncio.timeout(10):
        while spooled_files() != before:
            await asyncio.sleep(0.01)
    assert len(stack.simulator.requests) == (how == "success")


async def test_batches_are_got_listed_canceled_and_deleted(stack: Stack) -> None:
    ids = [(await create(stack, batch_of(2))).id for _ in range(5)]
    got = (await stack.batches.GetMessageBatch(GetMessageBatchRequest(batch_id=ids[0]))).batch
    assert got.id == ids[0]
    listed: list[str] = []
    request = ListMessageBatchesRequest(page_size=2)
    while not listed or request.page_token:
        page = await stack.batches.ListMessageBatches(request)
        listed += [batch.id for batch in page.batches]
        request.page_token = page.next_page_token
    assert listed == ids[::-1]
    canceled = (await stack.batches.CancelMessageBatch(CancelMessageBatchRequest(batch_id=ids[1]))).batch
    assert (canceled.state, canceled.state_raw) == (MESSAGE_BATCH_STATE_CANCELING, "canceling")
    assert canceled.HasField("cancel_time")
    stack.simulator.advance_batches()
    ended = (await stack.batches.GetMessageBatch(GetMessageBatchRequest(batch_id=ids[1]))).batch
    assert ended.state == MESSAGE_BATCH_STATE_ENDED
    assert ended.HasField("end_time")
    assert ended.request_counts.canceled == 2
    assert ended.results_url
    deleted = await stack.batches.DeleteMessageBatch(DeleteMessageBatchRequest(batch_id=ids[1]))
    assert (deleted.id, deleted.type) == (ids[1], "message_batch_deleted")


async def test_a_batch_that_is_not_there_is_not_found(stack: Stack) -> None:
    for method, kind in (
        ("GetMessageBatch", GetMessageBatchRequest),
        ("CancelMessageBatch", CancelMessageBatchRequest),
        ("DeleteMessageBatch", DeleteMessageBatchRequest),
    ):
        ended = await drain(getattr(stack.batches, method)(kind(batch_id="msgbatch_gone")))
        assert (ended.code, ended.info.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
        ended = await drain(getattr(stack.batches, method)(kind()))
        assert (ended.code, list(ended.violations)) == (INVALID, ["batch_id"])


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [(None, INVALID, "INVALID_REQUEST"), (409, grpc.StatusCode.ABORTED, "CONFLICT")],
)
async def test_a_batch_that_runs_cannot_be_deleted(
    stack: Stack, status: int | None, code: grpc.StatusCode, reason: str
) -> None:
    batch = await create(stack, batch_of(1))
    if status:
        stack.simulator.script(f"error {status}")
    ended = await drain(stack.batches.DeleteMessageBatch(DeleteMessageBatchRequest(batch_id=batch.id)))
    assert (ended.code, ended.info.reason) == (code, reason)


async def test_what_is_new_about_a_batch_is_not_lost() -> None:
    async with raw_upstreams() as serve:

        async def script(peer: Peer) -> None:
            await peer.request()
            peer.respond(
                200, b'{"id":"b","processing_status":"paused","request_counts":{"processing":1,"held":2},"x":1.0}'
            )

        upstream = await serve(script)
        async with gateway_before(upstream.url) as (_, channel):
            stub = BatchesServiceStub(channel)  # type: ignore[no-untyped-call]
            batch = (await stub.GetMessageBatch(GetMessageBatchRequest(batch_id="b"))).batch
        assert (batch.state, batch.state_raw) == (MESSAGE_BATCH_STATE_UNSPECIFIED, "paused")
        assert batch.request_counts.extra_json == '{"held":2}'
        assert batch.extra_json == '{"x":1.0}'


async def test_a_large_item_is_taken_whole(stack: Stack) -> None:
    text = "x" * 2_000_000
    batch = await create(stack, [header(), item("a", text), item("b", "é" * 500_000)])
    assert batch.request_counts.processing == 2
    assert stack.simulator.requests[-1].received > 3_000_000


async def test_the_limits_are_told(stack: Stack) -> None:
    from claude_grpc.v1.gateway_pb2 import GetServerInfoRequest

    limits = (await stack.server.GetServerInfo(GetServerInfoRequest())).limits
    assert (limits.max_batch_requests, limits.max_batch_bytes) == (100_000, 256 * 1024 * 1024)
    assert (limits.max_file_bytes, limits.max_chunk_bytes) == (500 * 1024 * 1024, 1024 * 1024)


def test_an_item_takes_all_that_a_message_takes() -> None:
    assert MessageBatchItem.DESCRIPTOR.fields_by_name["params"].message_type is MessageParams.DESCRIPTOR
