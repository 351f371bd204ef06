"""The spans of calls that are no conversation: batches, files, models and skills."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from claude_grpc.rpc import watches
from claude_grpc.rpc.batches import BatchesServicer
from claude_grpc.rpc.files import FilesServicer
from claude_grpc.simulator import SimulatorOptions
from claude_grpc.v1.batches_pb2 import (
    CancelMessageBatchRequest,
    DeleteMessageBatchRequest,
    GetMessageBatchRequest,
    ListMessageBatchesRequest,
    StreamMessageBatchResultsRequest,
    WatchMessageBatchRequest,
)
from claude_grpc.v1.files_pb2 import (
    DeleteFileRequest,
    DownloadFileRequest,
    GetFileRequest,
    ListFilesRequest,
)
from claude_grpc.v1.files_pb2_grpc import FilesServiceStub
from claude_grpc.v1.models_pb2 import GetModelRequest, ListModelsRequest
from claude_grpc.v1.skills_pb2 import DownloadSkillVersionRequest, GetSkillRequest, ListSkillsRequest
from support.otlp import Collector, ReceivedSpan
from support.raw_upstream import Peer, raw_upstreams
from support.resources import batch_of, ended_batch, file_of, skill_of
from support.stack import Stack, drain, gateway_before, open_stack

# A batch ends when it is told to.
SLOW_BATCHES = SimulatorOptions(batch_polls=0, batch_retry_after=0)
TRACES = ("4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c")


def traceparent(trace: str) -> tuple[tuple[str, str]]:
    return (("traceparent", f"00-{trace}-00f067aa0ba902b7-01"),)


def one(spans: list[ReceivedSpan]) -> ReceivedSpan:
    [span] = spans
    return span


def rpc_of(collector: Collector) -> ReceivedSpan:
    """The only span of an RPC."""
    return one([span for span in collector.spans if span.kind == "SERVER"])


async def use_batches(stack: Stack) -> None:
    batch_id = await ended_batch(stack, "Why?", "How?")
    await drain(stack.batches.GetMessageBatch(GetMessageBatchRequest(batch_id=batch_id)))
    await drain(stack.batches.ListMessageBatches(ListMessageBatchesRequest()))
    await drain(stack.batches.StreamMessageBatchResults(StreamMessageBatchResultsRequest(batch_id=batch_id)))
    running = (await stack.batches.CreateMessageBatch(batch_of("Why?"))).batch.id
    await drain(stack.batches.CancelMessageBatch(CancelMessageBatchRequest(batch_id=running)))
    await drain(stack.batches.DeleteMessageBatch(DeleteMessageBatchRequest(batch_id=batch_id)))


async def use_files(stack: Stack) -> None:
    file_id = (await stack.files.UploadFile(file_of())).file.id
    await drain(stack.files.GetFile(GetFileRequest(file_id=file_id)))
    await drain(stack.files.ListFiles(ListFilesRequest()))
    await drain(stack.files.DownloadFile(DownloadFileRequest(file_id=file_id)))
    await drain(stack.files.DeleteFile(DeleteFileRequest(file_id=file_id)))


async def use_models(stack: Stack) -> None:
    await drain(stack.models.GetModel(GetModelRequest(model_id="claude-opus-5-5")))
    await drain(stack.models.ListModels(ListModelsRequest()))


async def use_skills(stack: Stack) -> None:
    skill = (await stack.skills.CreateSkill(skill_of())).skill
    await drain(stack.skills.GetSkill(GetSkillRequest(skill_id=skill.id)))
    await drain(stack.skills.ListSkills(ListSkillsRequest()))
    version = DownloadSkillVersionRequest(skill_id=skill.id, version=skill.latest_version_id)
    await drain(stack.skills.DownloadSkillVersion(version))


# Each RPC with the methods of its requests to the Claude API.
USES: dict[str, tuple[Callable[[Stack], Awaitable[None]], list[tuple[str, str]]]] = {
    "batches": (
        use_batches,
        [
            ("create_message_batch", "POST"), ("get_message_batch", "GET"), ("list_message_batches", "GET"),
            # The results, and how many there are to be.
            ("stream_message_batch_results", "GET"), ("stream_message_batch_results", "GET"),
            ("create_message_batch", "POST"), ("cancel_message_batch", "POST"), ("delete_message_batch", "DELETE"),
        ],
    ),
    "files": (
        use_files,
        [
            ("upload_file", "POST"), ("get_file", "GET"), ("list_files", "GET"), ("download_file", "GET"),
            ("download_file", "GET"), ("delete_file", "DELETE"),
        ],
    ),
    "models": (use_models, [("get_model", "GET"), ("list_models", "GET")]),
    "skills": (
        use_skills,
        [("create_skill", "POST"), ("get_skill", "GET"), ("list_skills", "GET"), ("download_skill_version", "GET")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("service", USES)
async def test_each_call_is_a_trace_from_the_rpc_to_the_exchange(collector: Collector, service: str) -> None:
    use, expected = USES[service]
    async with open_stack() as stack:
        await use(stack)
        exchanges = {exchange.request_id for exchange in stack.simulator.requests}
    rpcs = sorted((span for span in collector.spans if span.kind == "SERVER"), key=lambda span: span.start)
    found, told = [], set()
    for rpc in rpcs:
        assert rpc.name.startswith("claude_grpc.v1.")
        assert (rpc.status, rpc.attributes["rpc.response.status_code"]) == ("UNSET", "OK")
        for call in collector.children(rpc):
            attempt = one(collector.children(call))
            assert call.attributes["gen_ai.operation.name"] == call.name
            assert call.attributes["anthropic.request.id"] == attempt.attributes["anthropic.request.id"]
            assert (call.status, attempt.status, attempt.attributes["http.response.status_code"]) == ("UNSET",) * 2 + (
                200,
            )
            assert rpc.start <= call.start <= attempt.start <= attempt.end <= call.end <= rpc.end
            assert "/v1/" in attempt.attributes["url.full"]
            found.append((call.name, attempt.name))
            told.add(attempt.attributes["anthropic.request.id"])
    assert found == expected
    assert told == exchanges
    assert {span.trace_id for span in collector.spans} == {rpc.trace_id for rpc in rpcs}
    assert len({rpc.trace_id for rpc in rpcs}) == len(rpcs)
    for operation, _ in expected:
        durations = collector.points("gen_ai.client.operation.duration")
        assert any(labels["gen_ai.operation.name"] == operation for labels, _ in durations)


async def test_a_download_that_goes_on_tells_the_status_that_came(collector: Collector) -> None:
    async def heeds_the_range(peer: Peer) -> None:
        await peer.request()
        peer.respond(200, b'{"id":"f","size_bytes":5}')
        await peer.request()
        peer.respond(206, b"llo", {"content-range": "bytes 2-4/5"})

    async with raw_upstreams() as serve:
        upstream = await serve(heeds_the_range)
        async with gateway_before(upstream.url) as (_, channel):
            files: Any = FilesServiceStub(channel)  # type: ignore[no-untyped-call]
            ended = await drain(files.DownloadFile(DownloadFileRequest(file_id="f", offset=2)))
    assert ended.code is grpc.StatusCode.OK
    assert [span.attributes["http.response.status_code"] for span in collector.named("GET")] == [200, 206]


UPLOAD, CREATE = "claude_grpc.v1.FilesService/UploadFile", "claude_grpc.v1.BatchesService/CreateMessageBatch"
ENDS = {
    "ok": ("", "OK", "UNSET", None),
    "invalid": ("", "INVALID_ARGUMENT", "UNSET", None),
    "overloaded": ("error 529", "UNAVAILABLE", "ERROR", "overloaded_error"),
    "truncated": ("truncate at=3", "UNAVAILABLE", "ERROR", "stream_interrupted"),
    "cancelled": ("slow-headers", "CANCELLED", "UNSET", "cancelled"),
    "deadline": ("slow-headers", "DEADLINE_EXCEEDED", "ERROR", "deadline_exceeded"),
    "bug": ("", "INTERNAL", "ERROR", None),
}


@pytest.mark.parametrize("method", [UPLOAD, CREATE])
@pytest.mark.parametrize("end", ENDS)
async def test_each_end_of_a_client_stream_has_its_status(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, method: str, end: str
) -> None:
    fault, code, status, error = ENDS[end]
    if end == "bug":

        def fail(*_: object, **__: object) -> None:
            raise ValueError("canary-text-of-a-bug")

        servicer, name = (
            (FilesServicer, "upload_file") if method == UPLOAD else (BatchesServicer, "create_message_batch")
        )
        monkeypatch.setattr(servicer, name, fail)
    async with open_stack() as stack:
        stack.simulator.script(fault)
        open_call = stack.files.UploadFile if method == UPLOAD else stack.batches.CreateMessageBatch
        requests = list(file_of() if method == UPLOAD else batch_of("Why?"))
        if end == "invalid":
            requests.append(requests[0])
        call = open_call(iter(requests), timeout=0.7 if end == "deadline" else 20)
        if end == "cancelled":
            exchange = await stack.simulator.wait_request()
            call.cancel()
            await stack.simulator.wait_closed(exchange)
        else:
            await drain(call)
    rpc = rpc_of(collector)
    assert (rpc.name, rpc.attributes["rpc.response.status_code"], rpc.status) == (method, code, status)
    assert rpc.attributes.get("error.type") == (code if status == "ERROR" else None)
    calls = collector.children(rpc)
    if end == "bug" or (end == "invalid" and method == CREATE):
        assert calls == []
    else:
        # A form is under way when the part comes that is wrong; a batch is sent when all of it has been checked.
        expected = "invalid_request" if end == "invalid" else error
        failed = expected not in {None, "cancelled"}
        attempt = one(collector.children(one(calls)))
        assert (one(calls).attributes.get("error.type"), one(calls).status) == (
            expected,
            "ERROR" if failed else "UNSET",
        )
        assert attempt.status == ("ERROR" if failed else "UNSET")
    assert "canary" not in str(collector.raw)
    [(labels, point)] = collector.points("rpc.server.call.duration")
    assert (labels["rpc.response.status_code"], labels["rpc.method"], point.count) == (code, method, 1)
    assert collector.total("claude_grpc.rpc.active") == 0
    assert collector.total("claude_grpc.upstream.exchanges") == 0


@pytest.mark.parametrize("method", [UPLOAD, CREATE])
@pytest.mark.parametrize("cause", ["CANCELLED", "DEADLINE_EXCEEDED"])
async def test_a_caller_that_stops_sending_ends_its_call_while_the_gateway_receives(
    collector: Collector, method: str, cause: str
) -> None:
    async with open_stack() as stack:
        open_call = stack.files.UploadFile if method == UPLOAD else stack.batches.CreateMessageBatch
        call = open_call(timeout=1.0 if cause == "DEADLINE_EXCEEDED" else 20)
        for request in file_of() if method == UPLOAD else batch_of("Why?"):
            await call.write(request)
        if cause == "CANCELLED":
            await collector.until(lambda: collector.total("claude_grpc.rpc.active") == 1)
            call.cancel()
        with pytest.raises((asyncio.CancelledError, grpc.aio.AioRpcError)):
            await call
        await stack.gateway.drain()
    rpc = rpc_of(collector)
    assert rpc.attributes["rpc.response.status_code"] == cause
    assert collector.total("claude_grpc.rpc.cancels", claude_grpc__phase="receive", claude_grpc__cause=cause) == 1
    for span in collector.children(rpc):
        assert span.attributes["error.type"] == cause.lower()


STREAM_ENDS = {
    "ok": ("", "OK", "UNSET", None),
    "missing": ("error 404", "NOT_FOUND", "UNSET", "not_found_error"),
    "truncated": ("truncate at=1", "UNAVAILABLE", "ERROR", "stream_interrupted"),
    "cancelled": ("stall at=1", "CANCELLED", "UNSET", "cancelled"),
    "deadline": ("stall at=1", "DEADLINE_EXCEEDED", "ERROR", "deadline_exceeded"),
}


@pytest.mark.parametrize("what", ["results", "download"])
@pytest.mark.parametrize("end", STREAM_ENDS)
async def test_each_end_of_a_streamed_answer_has_its_status(collector: Collector, what: str, end: str) -> None:
    fault, code, status, error = STREAM_ENDS[end]
    async with open_stack() as stack:
        if what == "results":
            path, request = "*/results", StreamMessageBatchResultsRequest(batch_id=await ended_batch(stack, "a", "b"))
            open_call = stack.batches.StreamMessageBatchResults
        else:
            path, request = "*/content", DownloadFileRequest(file_id=stack.simulator.add_file("a", b"hello").id)
            open_call = stack.files.DownloadFile
        stack.simulator.script(fault, path=path)
        call = open_call(request, timeout=0.7 if end == "deadline" else 20)
        if end == "cancelled":
            await call.read()
            call.cancel()
            await stack.gateway.drain()
        else:
            await drain(call)
    rpc = max((span for span in collector.spans if span.kind == "SERVER"), key=lambda span: span.start)
    assert (rpc.attributes["rpc.response.status_code"], rpc.status) == (code, status)
    streamed = collector.children(rpc)[1 if what == "download" else 0]
    assert streamed.attributes.get("error.type") == error
    assert (
        streamed.status
        == one(collector.children(streamed)).status
        == ("UNSET" if end in {"ok", "cancelled"} else "ERROR")
    )
    assert collector.total("claude_grpc.rpc.active") == collector.total("claude_grpc.upstream.exchanges") == 0


async def test_a_poll_is_a_trace_of_its_own_with_a_link_to_each_who_watches(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "_SHORTEST", 0.05)
    monkeypatch.setattr(watches, "_LONGEST", 0.05)
    async with open_stack(SLOW_BATCHES) as stack:
        batch_id = (await stack.batches.CreateMessageBatch(batch_of("Why?"))).batch.id
        request = WatchMessageBatchRequest(batch_id=batch_id)
        calls = [stack.batches.WatchMessageBatch(request, metadata=traceparent(trace)) for trace in TRACES]
        for call in calls:
            await anext(aiter(call))
        polls = len(stack.simulator.requests)
        await stack.simulator.wait_request(polls + 2)
        calls[0].cancel()
        polls = len(stack.simulator.requests)
        await stack.simulator.wait_request(polls + 3)
        stack.simulator.advance_batches()
        assert (await drain(calls[1])).code is grpc.StatusCode.OK
    watched = {span.trace_id: span for span in collector.named("claude_grpc.v1.BatchesService/WatchMessageBatch")}
    assert set(watched) == set(TRACES)
    polled = collector.named("get_message_batch")
    links = [{link[0] for link in poll.links} for poll in polled]
    assert set(TRACES) in links
    assert links[-1] == {TRACES[1]}
    for poll in polled:
        assert (poll.kind, poll.parent_id) == ("CLIENT", "")
        assert poll.trace_id not in TRACES
        assert all(watched[trace].span_id == span_id for trace, span_id in poll.links)
        assert {attempt.trace_id for attempt in collector.children(poll)} == {poll.trace_id}
    assert len({poll.trace_id for poll in polled}) == len(polled)
    cancelled = watched[TRACES[0]]
    assert (cancelled.attributes["rpc.response.status_code"], cancelled.status) == ("CANCELLED", "UNSET")


async def test_a_poll_that_fails_says_so_and_so_does_the_watch(collector: Collector) -> None:
    async with open_stack(SLOW_BATCHES) as stack:
        request = WatchMessageBatchRequest(batch_id="msgbatch_0")
        assert (await drain(stack.batches.WatchMessageBatch(request))).code is grpc.StatusCode.NOT_FOUND
    poll, rpc = one(collector.named("get_message_batch")), rpc_of(collector)
    assert (poll.status, poll.attributes["error.type"]) == ("ERROR", "not_found_error")
    assert (rpc.status, rpc.attributes["rpc.response.status_code"]) == ("UNSET", "NOT_FOUND")
    assert poll.links == [(rpc.trace_id, rpc.span_id)]
