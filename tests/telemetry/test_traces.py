"""The spans of a call, as a collector gets them from a real gateway."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from claude_grpc.rpc import messages as messages_room
from claude_grpc.simulator import SimulatorOptions
from support.otlp import Collector, ReceivedSpan
from support.stack import CANARY_KEY, Stack, create, drain, open_stack, stream

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = (("traceparent", f"00-{TRACE}-{PARENT}-01"),)
METHODS = {
    "unary": "claude_grpc.v1.MessagesService/CreateMessage",
    "stream": "claude_grpc.v1.MessagesService/StreamMessage",
}
MODEL = "claude-opus-5-5"


def ask(stack: Stack, kind: str, text: str = "Why?", **options: Any) -> Any:
    request = create(text) if kind == "unary" else stream(text)
    method = stack.messages.CreateMessage if kind == "unary" else stack.messages.StreamMessage
    return method(request, **options)


def one(spans: list[ReceivedSpan]) -> ReceivedSpan:
    [span] = spans
    return span


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
async def test_one_trace_from_the_caller_over_two_failures_to_the_stream(
    collector: Collector, export_to: Any, protocol: str
) -> None:
    export_to(collector.grpc_url if protocol == "grpc" else collector.http_url, protocol)
    async with open_stack(max_retries=2) as stack:
        stack.simulator.script("error 529 retry-after-ms=5", "error 500 retry-after-ms=5", "")
        ended = await drain(ask(stack, "stream", metadata=TRACEPARENT))
        exchanges = list(stack.simulator.requests)
        upstream = stack.simulator.port
    assert ended.types[-1] == "message_stop"

    assert {span.trace_id for span in collector.spans} == {TRACE}
    rpc = one(collector.named(METHODS["stream"]))
    assert (rpc.kind, rpc.parent_id, rpc.status) == ("SERVER", PARENT, "UNSET")
    call = one(collector.children(rpc))
    assert (call.name, call.kind, call.status) == (f"chat {MODEL}", "CLIENT", "UNSET")
    attempts = collector.children(call)
    assert [attempt.attributes.get("http.response.status_code") for attempt in attempts] == [529, 500, 200]
    assert [attempt.attributes.get("http.request.resend_count") for attempt in attempts] == [None, 1, 2]
    assert [attempt.attributes.get("error.type") for attempt in attempts] == ["overloaded_error", "api_error", None]
    assert [attempt.status for attempt in attempts] == ["ERROR", "ERROR", "UNSET"]
    assert [event["claude_grpc.reason"] for _, event in call.events] == ["529", "500"]
    assert all(name == "claude_grpc.retry" and event["claude_grpc.retry.wait"] < 1 for name, event in call.events)
    # Upstream could go on with it: each request names its attempt as its parent.
    assert [exchange.headers["traceparent"] for exchange in exchanges] == [
        f"00-{TRACE}-{attempt.span_id}-01" for attempt in attempts
    ]
    for attempt in attempts:
        assert (attempt.attributes["server.address"], attempt.attributes["server.port"]) == ("127.0.0.1", upstream)
        assert attempt.attributes["url.full"] == f"http://127.0.0.1:{upstream}/v1/messages"
    assert [attempt.attributes["anthropic.request.id"] for attempt in attempts] == [e.request_id for e in exchanges]


async def test_spans_end_when_the_stream_ends(collector: Collector) -> None:
    async with open_stack(SimulatorOptions(delta_interval=0.01)) as stack:
        ended = await drain(ask(stack, "stream"))
    micros = dict(part.split("=") for part in ended.trailers["claude-grpc-timing"].split(","))
    waited = int(micros["stream"]) * 1000
    assert waited > 50_000_000
    rpc = one(collector.named(METHODS["stream"]))
    for span in (rpc, one(collector.named(f"chat {MODEL}")), one(collector.named("POST"))):
        assert span.end - span.start > waited


@pytest.mark.parametrize("kind", METHODS)
async def test_a_model_call_says_what_was_asked_and_what_came_back(collector: Collector, kind: str) -> None:
    async with open_stack() as stack:
        ended = await drain(ask(stack, kind))
        exchange = stack.simulator.requests[0]
        usage = dict(stack.simulator.usage)
    call = one(collector.named(f"chat {MODEL}"))
    told = call.attributes
    first = told.pop("gen_ai.response.time_to_first_chunk", None)
    assert (first is not None) == (kind == "stream") == told.pop("gen_ai.request.stream", False)
    message = ended.events[0].message if kind == "unary" else ended.events[0].message_start.message
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.max_tokens": 1000,
        "gen_ai.response.id": message.id,
        "gen_ai.response.model": MODEL,
        "gen_ai.response.finish_reasons": ("end_turn",),
        "gen_ai.usage.input_tokens": usage["input_tokens"],
        "gen_ai.usage.output_tokens": usage["output_tokens"],
        "anthropic.request.id": exchange.request_id,
        "anthropic.response.service_tier": "standard",
        "server.address": "127.0.0.1",
        "server.port": told["server.port"],
    }


async def test_counting_tokens_is_a_call_of_its_own_kind_without_usage(collector: Collector) -> None:
    from claude_grpc.v1.messages_pb2 import CountTokensRequest
    from support.stack import params

    async with open_stack() as stack:
        await stack.messages.CountTokens(CountTokensRequest(params=params(max_tokens=None)))
    call = one(collector.named(f"count_tokens {MODEL}"))
    assert not [name for name in call.attributes if name.startswith("gen_ai.usage")]
    assert not collector.points("gen_ai.client.inference.duration")
    assert len(collector.points("gen_ai.client.operation.duration")) == 1


async def test_an_attempt_tells_the_status_that_came_however_it_goes_on(collector: Collector) -> None:
    async with open_stack() as stack:
        stack.simulator.script("cut at=0")
        assert (await drain(ask(stack, "stream"))).code.name == "UNAVAILABLE"
        exchange = stack.simulator.requests[0]
    attempt = one(collector.named("POST"))
    assert (attempt.attributes["http.response.status_code"], attempt.status) == (200, "ERROR")
    assert attempt.attributes["error.type"] == "stream_interrupted"
    assert attempt.attributes["anthropic.request.id"] == exchange.request_id


ENDS = {
    "ok": ("Why?", "OK", "UNSET", None),
    "invalid": ("", "INVALID_ARGUMENT", "UNSET", None),
    "overloaded": ("[[error-event at=4]]", "UNAVAILABLE", "ERROR", "overloaded_error"),
    "cut": ("[[truncate at=4]]", "UNAVAILABLE", "ERROR", "stream_interrupted"),
    "cancelled": ("[[stall at=4]]", "CANCELLED", "UNSET", "cancelled"),
    "deadline": ("[[stall at=4]]", "DEADLINE_EXCEEDED", "ERROR", "deadline_exceeded"),
}


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("end", ENDS)
async def test_each_end_has_its_status(collector: Collector, kind: str, end: str) -> None:
    text, code, status, error = ENDS[end]
    async with open_stack() as stack:
        if end == "invalid":
            request = stream() if kind == "stream" else create()
            request.betas.append("not a header\n")
            method = stack.messages.StreamMessage if kind == "stream" else stack.messages.CreateMessage
            await drain(method(request))
        elif end == "cancelled":
            call = ask(stack, kind, text)
            if kind == "stream":
                await call.read()
            exchange = await stack.simulator.wait_request()
            call.cancel()
            await stack.simulator.wait_closed(exchange)
        else:
            await drain(ask(stack, kind, text, timeout=0.5 if end == "deadline" else 20))
    rpc = one(collector.named(METHODS[kind]))
    assert (rpc.attributes["rpc.response.status_code"], rpc.status) == (code, status)
    # What is the caller's doing is no error of the server's.
    assert rpc.attributes.get("error.type") == (code if status == "ERROR" else None)
    calls = collector.children(rpc)
    if end == "invalid":
        assert calls == []
        return
    call_status = "ERROR" if error not in {None, "cancelled"} else "UNSET"
    attempt = one(collector.children(one(calls)))
    if kind == "unary" and end == "overloaded":
        assert attempt.attributes["http.response.status_code"] == 529
    assert (one(calls).attributes.get("error.type"), one(calls).status) == (error, call_status)
    assert attempt.status == call_status
    [(labels, point)] = collector.points("rpc.server.call.duration")
    assert (labels["rpc.response.status_code"], labels["rpc.method"], point.count) == (code, METHODS[kind], 1)
    assert collector.total("claude_grpc.rpc.active") == 0
    assert collector.total("claude_grpc.upstream.exchanges") == 0


@pytest.mark.parametrize("kind", METHODS)
async def test_a_bug_is_an_error_with_an_id_and_without_its_text(
    collector: Collector, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    canary = "canary-text-of-a-bug"

    def fail(*_: object, **__: object) -> None:
        raise ValueError(canary)

    monkeypatch.setattr(messages_room.MessagesServicer, f"{'create' if kind == 'unary' else 'stream'}_message", fail)
    async with open_stack() as stack:
        ended = await drain(ask(stack, kind))
    rpc = one(collector.named(METHODS[kind]))
    assert (rpc.attributes["rpc.response.status_code"], rpc.status) == ("INTERNAL", "ERROR")
    assert rpc.attributes["claude_grpc.error_id"] == ended.info.metadata["errorId"]
    assert canary not in caplog.text
    assert not any(canary.encode() in body for body in collector.raw)


async def test_a_cancel_is_counted_by_its_phase(collector: Collector) -> None:
    async with open_stack() as stack:
        for phase, text in (("first-event", "[[slow-headers]]"), ("stream", "[[stall at=2]]")):
            call = ask(stack, "stream", text)
            exchange = await stack.simulator.wait_request(1 if phase == "first-event" else 2)
            if phase == "stream":
                await call.read()
                await call.read()
            call.cancel()
            await stack.simulator.wait_closed(exchange)
        await drain(ask(stack, "stream", "[[slow-headers]]", timeout=0.5))
    assert collector.total("claude_grpc.rpc.cancels", claude_grpc__cause="DEADLINE_EXCEEDED") == 1
    assert collector.total("claude_grpc.rpc.cancels", claude_grpc__phase="first-event") == 2
    for phase in ("first-event", "stream"):
        assert collector.total("claude_grpc.rpc.cancels", claude_grpc__phase=phase, claude_grpc__cause="CANCELLED") == 1


async def test_without_a_caller_that_traces_each_call_is_a_trace_of_its_own(collector: Collector) -> None:
    async with open_stack() as stack:
        await asyncio.gather(*(drain(ask(stack, kind)) for kind in METHODS for _ in range(3)))
    assert len({span.trace_id for span in collector.spans}) == 6
    assert sum(not span.parent_id for span in collector.spans) == 6


@pytest.mark.parametrize(
    "traceparent",
    ["", "00-" + "0" * 32 + f"-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}", "x" * 600, "%00"],
)
async def test_a_bad_parent_is_no_parent(collector: Collector, traceparent: str) -> None:
    async with open_stack() as stack:
        assert (await drain(ask(stack, "unary", metadata=(("traceparent", traceparent),)))).message == ""
    assert one(collector.named(METHODS["unary"])).parent_id == ""


async def test_the_callers_word_on_sampling_holds(collector: Collector) -> None:
    async with open_stack() as stack:
        await drain(ask(stack, "unary", metadata=(("traceparent", f"00-{TRACE}-{PARENT}-00"),)))
        headers = stack.simulator.requests[0].headers
    assert collector.spans == []
    assert headers["traceparent"].startswith(f"00-{TRACE}-")
    assert headers["traceparent"].endswith("-00")


async def test_what_a_caller_says_for_itself_does_not_go_upstream(collector: Collector) -> None:
    said = (*TRACEPARENT, ("tracestate", "vendor=the-state"), ("baggage", "user=the-baggage"))
    async with open_stack() as stack:
        await drain(ask(stack, "unary", metadata=said))
        headers = stack.simulator.requests[0].headers
    assert "the-" not in str(headers)
    assert TRACE in headers["traceparent"]
    assert not any(b"the-baggage" in body for body in collector.raw)


async def test_without_the_propagator_each_call_begins_a_trace_that_ends_here(
    collector: Collector, export_to: Any
) -> None:
    export_to(collector.grpc_url, OTEL_PROPAGATORS="none")
    async with open_stack() as stack:
        await drain(ask(stack, "unary", metadata=TRACEPARENT))
        headers = stack.simulator.requests[0].headers
    assert TRACE not in {span.trace_id for span in collector.spans}
    assert "traceparent" not in headers


@pytest.mark.parametrize("sampler", ["always_off", "traceidratio"])
async def test_the_standard_sampler_setting_holds(collector: Collector, export_to: Any, sampler: str) -> None:
    export_to(collector.grpc_url, OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG="0.0")
    async with open_stack() as stack:
        await drain(ask(stack, "stream"))
    assert collector.spans == []
    assert collector.total("gen_ai.client.inference.usage.output_tokens") > 0


async def test_the_resource_says_who_tells(collector: Collector, export_to: Any) -> None:
    export_to(collector.grpc_url, OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test")
    async with open_stack() as stack:
        await drain(ask(stack, "unary"))
    resource = collector.spans[0].resource
    assert resource["service.name"] == "claude-grpc"
    assert resource["deployment.environment.name"] == "test"
    assert {"service.version", "service.instance.id"} < set(resource)
    assert CANARY_KEY not in str(collector.raw)
