"""The results of a batch: line by line, typed, in order, and never twice."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2

from claude_grpc.codec import Encoder, Violations
from claude_grpc.simulator import SimulatorOptions
from claude_grpc.v1.batches_pb2 import (
    CreateMessageBatchHeader,
    CreateMessageBatchRequest,
    DeleteMessageBatchRequest,
    GetMessageBatchRequest,
    MessageBatchItem,
    StreamMessageBatchResultsRequest,
    StreamMessageBatchResultsResponse,
)
from claude_grpc.v1.batches_pb2_grpc import BatchesServiceStub
from claude_grpc.v1.messages_pb2 import STOP_REASON_END_TURN
from support.raw_upstream import Peer, raw_upstreams
from support.stack import CANARY_KEY, Stack, drain, gateway_before, open_stack, params, texts

OK, INVALID, NOT_FOUND = grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
# The promise is 0.1 s; the rest is for a machine that does other things, too.
AT_ONCE = 1.0
DAY = 86_400


async def ended_batch(stack: Stack, *asked: str) -> str:
    """Id of a batch of these prompts that has ended."""
    requests = [CreateMessageBatchRequest(header=CreateMessageBatchHeader())]
    for number, text in enumerate(asked):
        requests.append(CreateMessageBatchRequest(item=MessageBatchItem(custom_id=f"c{number}", params=params(text))))
    batch_id: str = (await stack.batches.CreateMessageBatch(iter(requests))).batch.id
    stack.simulator.advance_batches()
    return batch_id


async def results(stack: Stack, batch_id: str, start: int = 0) -> list[StreamMessageBatchResultsResponse]:
    request = StreamMessageBatchResultsRequest(batch_id=batch_id, start_index=start)
    return [result async for result in stack.batches.StreamMessageBatchResults(request)]


@pytest.mark.parametrize("engine", ["aiohttp", "httpx"])
async def test_every_kind_of_result_is_typed(engine: str) -> None:
    async with open_stack(engine=engine) as stack:
        asked = [
            "hi",
            "[[error 400]]",
            "[[error-event overloaded_error]]",
            "[[cancel]]",
            "[[expire]]",
            "[[unknown-result]]",
        ]
        got = await results(stack, await ended_batch(stack, *asked))
        assert [each.index for each in got] == list(range(6))
        by_id = {each.custom_id: each.result for each in got}
        assert [each.custom_id for each in got] != sorted(by_id), "the order is the API's"
        assert {name: result.type for name, result in by_id.items()} == {
            "c0": "succeeded",
            "c1": "errored",
            "c2": "errored",
            "c3": "canceled",
            "c4": "expired",
            "c5": "future_result",
        }
        message = by_id["c0"].succeeded.message
        assert message.stop_reason == STOP_REASON_END_TURN
        assert texts(message.content)
        assert message.usage.service_tier == "batch"
        assert by_id["c3"].HasField("canceled")
        assert by_id["c4"].HasField("expired")
        assert json.loads(by_id["c5"].opaque_json)["type"] == "future_result"


async def test_an_error_is_what_a_call_would_have_ended_with_and_what_the_api_sent(stack: Stack) -> None:
    got = await results(stack, await ended_batch(stack, "[[error 400]]", "[[error-event overloaded_error]]"))
    by_id = {each.custom_id: each.result.errored for each in got}
    sent = json.loads(by_id["c0"].error_json)
    assert (sent["type"], sent["error"]["type"]) == ("error", "invalid_request_error")
    assert by_id["c0"].status.code == code_pb2.INVALID_ARGUMENT
    assert by_id["c0"].status.message == sent["error"]["message"]
    overloaded = by_id["c1"].status
    assert overloaded.code == code_pb2.UNAVAILABLE
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert any(detail.Unpack(info) for detail in overloaded.details)
    assert any(detail.Unpack(retry) for detail in overloaded.details)
    assert (info.reason, info.domain) == ("OVERLOADED", "api.anthropic.com")
    assert info.metadata["safeToRetry"] == "true"


async def lines(*sent: bytes, **answer: Any) -> Any:
    """How the results end when upstream sends these lines."""
    async with raw_upstreams() as serve:

        async def script(peer: Peer) -> None:
            await peer.request()
            peer.respond(200, b"\n".join(sent), {"content-type": "application/x-jsonl", **answer})

        upstream = await serve(script)
        async with gateway_before(upstream.url) as (_, channel):
            stub = BatchesServiceStub(channel)  # type: ignore[no-untyped-call]
            return await drain(stub.StreamMessageBatchResults(StreamMessageBatchResultsRequest(batch_id="b")))


ERROR = b'{"custom_id":"a","result":{"type":"errored","error":%s}}'


async def test_the_id_of_the_request_that_failed_is_told() -> None:
    error = b'{"type":"error","error":{"type":"api_error","message":"no"},"request_id":"req_9"}'
    ended = await lines(ERROR % error)
    status = ended.events[0].result.errored.status
    request = error_details_pb2.RequestInfo()
    assert any(detail.Unpack(request) for detail in status.details)
    assert (status.code, status.message, request.request_id) == (code_pb2.INTERNAL, "no", "req_9")


@pytest.mark.parametrize("error", [b"{}", b'{"error":3,"request_id":7}', b'{"error":{"type":"new"}}'])
async def test_an_error_of_another_shape_is_an_error_all_the_same(error: bytes) -> None:
    ended = await lines(ERROR % error)
    assert ended.code is OK
    assert ended.events[0].result.errored.error_json == error.decode()
    assert ended.events[0].result.errored.status.code == code_pb2.INTERNAL


@pytest.mark.parametrize(
    "line",
    [
        b'{"custom_id":"a","result":{"type":"errored","error":"text"}}',
        b'{"custom_id":"a","result":{"type":"errored","error":null}}',
        b'{"custom_id":"a","result":{"type":"errored"}}',
        b'{"custom_id":"a","result":{"type":"succeeded"}}',
        b'{"custom_id":"a","result":{"type":"succeeded","message":null}}',
        b'{"custom_id":"a","result":{"type":"succeeded","message":{"id":7}}}',
    ],
)
async def test_a_known_type_of_another_shape_loses_nothing(line: bytes) -> None:
    ended = await lines(line)
    assert ended.code is OK
    [result] = ended.events
    assert json.loads(Encoder(result.DESCRIPTOR).encode(result, Violations())) == json.loads(line)


@pytest.mark.parametrize("line", [b"{}", b'{"custom_id":7,"result":[]}', b'{"future": 1.0}'])
async def test_a_line_of_another_shape_loses_nothing(line: bytes) -> None:
    ended = await lines(line)
    assert ended.code is OK
    assert json.loads(ended.events[0].extra_json or "{}") == json.loads(line)


@pytest.mark.parametrize("line", [b"[]", b"3", b'{"custom_id":', b"<html>", b"\xff"])
async def test_a_line_that_is_no_object_ends_the_stream_after_the_lines_before_it(line: bytes) -> None:
    fine = b'{"custom_id":"a","result":{"type":"canceled"}}'
    ended = await lines(fine, line, fine)
    assert (ended.code, ended.info.reason) == (grpc.StatusCode.INTERNAL, "UPSTREAM_PROTOCOL")
    assert [each.custom_id for each in ended.events] == ["a"]
    assert ended.info.metadata["partial"] == "true"


async def test_no_results_are_ok() -> None:
    ended = await lines()
    assert (ended.code, ended.events) == (OK, [])


@pytest.mark.parametrize("start", [0, 1, 59, 60, 99, 100])
async def test_results_go_on_at_any_index(stack: Stack, start: int) -> None:
    batch_id = await ended_batch(stack, *["hi"] * 100)
    got = await results(stack, batch_id, start)
    assert [each.index for each in got] == list(range(start, 100))
    whole = await results(stack, batch_id)
    assert [each.custom_id for each in got] == [each.custom_id for each in whole[start:]]


@pytest.mark.parametrize("fault", ["cut at=60", "reset at=60", "truncate at=60"])
async def test_results_that_break_off_go_on_without_one_twice_or_one_missing(fault: str) -> None:
    async with open_stack() as stack:
        batch_id = await ended_batch(stack, *["hi"] * 100)
        stack.simulator.script(fault, path="*/results")
        request = StreamMessageBatchResultsRequest(batch_id=batch_id)
        broken = await drain(stack.batches.StreamMessageBatchResults(request))
        first: Any = broken.events
        assert (broken.code, broken.info.reason) == (grpc.StatusCode.UNAVAILABLE, "STREAM_INTERRUPTED")
        assert broken.info.metadata["partial"] == "true"
        assert 0 < len(first) <= 60
        rest = await results(stack, batch_id, first[-1].index + 1)
        ids = [each.custom_id for each in [*first, *rest]]
        assert sorted(ids) == sorted(f"c{number}" for number in range(100))


@pytest.mark.parametrize("engine", ["aiohttp", "httpx"])
async def test_results_that_end_too_early_without_breaking_are_not_ok(engine: str) -> None:
    async with open_stack(engine=engine) as stack:
        batch_id = await ended_batch(stack, *["hi"] * 10, "[[cancel]]", "[[expire]]", "[[error 400]]")
        for start, cut in ((0, 0), (0, 12), (5, 4)):
            stack.simulator.script(f"cut at={cut}", path="*/results")
            request = StreamMessageBatchResultsRequest(batch_id=batch_id, start_index=start)
            ended = await drain(stack.batches.StreamMessageBatchResults(request))
            assert (ended.code, ended.info.reason) == (grpc.StatusCode.UNAVAILABLE, "STREAM_INTERRUPTED")
            assert ended.message == f"The results ended after {cut} of 13."
            assert len(ended.events) == max(cut - start, 0)


async def test_results_that_cannot_be_counted_are_not_ok(stack: Stack) -> None:
    batch_id = await ended_batch(stack, *["hi"] * 10)
    stack.simulator.script("error 500", path=f"*/{batch_id}")
    ended = await drain(stack.batches.StreamMessageBatchResults(StreamMessageBatchResultsRequest(batch_id=batch_id)))
    assert (ended.code, ended.info.metadata["partial"]) == (grpc.StatusCode.UNAVAILABLE, "true")
    assert [each.index for each in ended.events] == list(range(10))
    assert await results(stack, batch_id, 10) == []


@pytest.mark.parametrize(("start", "code"), [(4, grpc.StatusCode.OUT_OF_RANGE), (-1, INVALID)])
async def test_an_index_that_is_none_is_refused(stack: Stack, start: int, code: grpc.StatusCode) -> None:
    batch_id = await ended_batch(stack, "hi", "hi", "hi")
    request = StreamMessageBatchResultsRequest(batch_id=batch_id, start_index=start)
    ended = await drain(stack.batches.StreamMessageBatchResults(request))
    assert (ended.code, list(ended.violations), ended.events) == (code, ["start_index"], [])


async def test_results_that_are_not_there_are_not_found(stack: Stack) -> None:
    requests = [
        CreateMessageBatchRequest(header=CreateMessageBatchHeader()),
        CreateMessageBatchRequest(item=MessageBatchItem(custom_id="a", params=params())),
    ]
    running = (await stack.batches.CreateMessageBatch(iter(requests))).batch.id
    archived = await ended_batch(stack, "hi")
    stack.simulator.pass_time(30 * DAY)
    got = (await stack.batches.GetMessageBatch(GetMessageBatchRequest(batch_id=archived))).batch
    assert got.HasField("archive_time")
    deleted = await ended_batch(stack, "hi")
    await stack.batches.DeleteMessageBatch(DeleteMessageBatchRequest(batch_id=deleted))
    for batch_id in (running, archived, deleted, "msgbatch_gone"):
        request = StreamMessageBatchResultsRequest(batch_id=batch_id)
        ended = await drain(stack.batches.StreamMessageBatchResults(request))
        assert (ended.code, ended.info.reason, ended.events) == (NOT_FOUND, "NOT_FOUND", [])
        assert ended.info.metadata["partial"] == "false"


async def test_the_key_goes_to_no_other_host_that_upstream_names() -> None:
    async with raw_upstreams() as serve:

        async def elsewhere(peer: Peer) -> None:
            await peer.request()
            raise AssertionError("nobody may come here")

        other = await serve(elsewhere)
        async with open_stack(SimulatorOptions(results_host=other.url)) as stack:
            batch_id = await ended_batch(stack, "hi")
            got = (await stack.batches.GetMessageBatch(GetMessageBatchRequest(batch_id=batch_id))).batch
            assert got.results_url.startswith(other.url)
            assert len(await results(stack, batch_id)) == 1
            [exchange] = [each for each in stack.simulator.requests if each.path.endswith("/results")]
            assert exchange.path == f"/v1/messages/batches/{batch_id}/results"
            assert exchange.headers["x-api-key"] == CANARY_KEY
        assert other.unseen() == 0


async def test_a_result_comes_before_the_next_line_does(stack: Stack) -> None:
    batch_id = await ended_batch(stack, *["hi"] * 10)
    stack.simulator.script("stall at=3", path="*/results")
    call = stack.batches.StreamMessageBatchResults(StreamMessageBatchResultsRequest(batch_id=batch_id))
    assert [(await call.read()).index for _ in range(3)] == [0, 1, 2]
    call.cancel()
