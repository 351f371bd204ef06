"""What the gateway's own machines do is told: breakers, retries, fallbacks, admission."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest

from claude_grpc.telemetry import watch as watching
from claude_grpc.v1.messages_pb2 import CreateMessageRequest
from claude_grpc.v1.messages_pb2_grpc import MessagesServiceStub
from claude_grpc.v1.options_pb2 import DISCONNECT_POLICY_FINISH, CallOptions
from support.otlp import Collector
from support.stack import create, drain, gateway_before, open_stack, params, stream

MODEL, OTHER = "claude-opus-5-5", "claude-haiku-5-5"
CREATE = "claude_grpc.v1.MessagesService/CreateMessage"


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_INTERVAL", 0.01)


async def test_a_breaker_that_opens_is_told_with_the_call_that_it_refused(collector: Collector) -> None:
    async with open_stack(breaker_failures=2) as stack:
        await drain(stack.messages.CreateMessage(create()))
        stack.simulator.script("error 529", "error 529")
        reasons = [(await drain(stack.messages.CreateMessage(create()))).info.reason for _ in range(3)]
        await collector.until(lambda: collector.total("claude_grpc.breaker.state", gen_ai__request__model=MODEL) == 2)
    assert reasons == ["OVERLOADED", "OVERLOADED", "BREAKER_OPEN"]
    assert collector.total("claude_grpc.rpc.failures", claude_grpc__reason="BREAKER_OPEN") == 1
    refused = collector.named(f"chat {MODEL}")[-1]
    assert (refused.attributes["error.type"], refused.status) == ("breaker_open", "ERROR")
    assert collector.children(refused) == []


async def test_a_retry_that_the_budget_refuses_is_told(collector: Collector) -> None:
    async with open_stack(max_retries=1, retry_budget=4, breaker_failures=0) as stack:
        for _ in range(4):
            await drain(stack.messages.CreateMessage(create("[[error 500 retry-after-ms=1]]")))
        await collector.until(lambda: [p.as_double for _, p in collector.points("claude_grpc.retry.budget")] == [0.0])
    held_back = collector.total("claude_grpc.upstream.retries_held_back", claude_grpc__reason="budget")
    retried = collector.total("claude_grpc.upstream.retries", claude_grpc__reason="500")
    assert held_back + retried == 4
    assert held_back > 0
    attempts = collector.named("POST")
    assert sum(attempt.attributes.get("claude_grpc.retry.held_back") == "budget" for attempt in attempts) == held_back


async def test_another_model_that_stands_in_is_a_call_of_its_own(collector: Collector) -> None:
    async with open_stack() as stack:
        stack.simulator.script("error 529", "")
        options = CallOptions(fallback_models=[OTHER])
        ended = await drain(stack.messages.CreateMessage(CreateMessageRequest(params=params(), call_options=options)))
    assert ended.trailers["claude-grpc-model"] == OTHER
    [rpc] = collector.named(CREATE)
    first, second = collector.children(rpc)
    assert (first.name, first.attributes["error.type"]) == (f"chat {MODEL}", "overloaded_error")
    assert (second.name, second.attributes["claude_grpc.fallback"]) == (f"chat {OTHER}", "overloaded")
    assert second.attributes["gen_ai.response.model"] == OTHER
    assert collector.total("claude_grpc.fallback.calls", claude_grpc__reason="overloaded") == 1
    micros = dict(part.split("=") for part in ended.trailers["claude-grpc-timing"].split(","))
    assert int(micros["retry"]) > 0
    assert int(micros["total"]) == sum(int(value) for name, value in micros.items() if name != "total")


async def test_calls_that_wait_and_calls_that_are_refused_are_told(collector: Collector) -> None:
    async with open_stack(max_calls=1, max_queued_calls=1, queue_timeout=2.0) as stack:
        running = stack.messages.StreamMessage(stream("[[stall at=2]]"))
        await running.read()
        waiting = asyncio.ensure_future(drain(stack.messages.CreateMessage(create())))
        await collector.until(lambda: collector.total("claude_grpc.admission.calls", claude_grpc__state="queued") == 1)
        ended = [await drain(stack.messages.CreateMessage(create())), await waiting]
        running.cancel()
    assert [end.code for end in ended] == [grpc.StatusCode.UNAVAILABLE] * 2
    assert collector.total("claude_grpc.rpc.failures", claude_grpc__reason="GATEWAY_OVERLOADED") == 2
    waited = max(collector.named(CREATE), key=lambda span: span.end - span.start)
    micros = dict(part.split("=") for part in waited.attributes["claude_grpc.timing"].split(","))
    assert int(micros["admission"]) > 200_000


async def test_a_call_that_outlives_its_caller_is_counted_to_its_end(collector: Collector) -> None:
    async with open_stack() as stack:
        request = stream("[[pace 0.01]]")
        request.call_options.on_disconnect = DISCONNECT_POLICY_FINISH
        call = stack.messages.StreamMessage(request)
        await call.read()
        call.cancel()
        exchange = await stack.simulator.wait_closed(await stack.simulator.wait_request())
        await stack.gateway.abandoned.idle()
        told: dict[str, Any] = dict(stack.simulator.usage)
    assert not exchange.closed_early
    [span] = collector.named(f"chat {MODEL}")
    assert span.attributes["gen_ai.usage.output_tokens"] == told["output_tokens"] > 1
    assert collector.total("gen_ai.client.inference.usage.output_tokens") == told["output_tokens"]
    assert collector.total("claude_grpc.rpc.cancels") == 1


async def test_the_event_loops_lag_is_measured(collector: Collector) -> None:
    def is_told() -> bool:
        return any(point.count > 1 for _, point in collector.points("claude_grpc.event_loop.lag"))

    async with open_stack():
        await collector.until(is_told)


async def test_what_is_under_way_is_told_while_it_is(collector: Collector) -> None:
    """The pool of connections, the calls and the bytes of their requests, and that all of it comes back to nothing."""

    def totals() -> list[float]:
        exchanges = "claude_grpc.upstream.exchanges"
        return [
            collector.total(exchanges, claude_grpc__state="open"),
            collector.total("claude_grpc.admission.calls", claude_grpc__state="running"),
            collector.total("claude_grpc.admission.bytes"),
            collector.total("claude_grpc.rpc.active", rpc__method=CREATE),
        ]

    # Small ones are not counted.
    asked = create("[[slow-headers]]" + "x" * 200_000)
    async with open_stack() as stack:
        calls = [stack.messages.CreateMessage(asked) for _ in range(3)]
        await collector.until(lambda: totals() == [3, 3, 3 * asked.ByteSize(), 3])
        for call in calls:
            call.cancel()
        await collector.until(lambda: totals() == [0, 0, 0, 0])


async def test_an_exchange_that_has_no_connection_yet_is_told_apart(collector: Collector) -> None:
    async with AsyncExitStack() as stack:
        # A port whose queue of connections is full does not answer.
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        host, port = listening.getsockname()
        for _ in range(3):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex((host, port))
        _, channel = await stack.enter_async_context(gateway_before(f"http://{host}:{port}"))
        messages: Any = MessagesServiceStub(channel)  # type: ignore[no-untyped-call]
        call = messages.CreateMessage(create())
        exchanges = "claude_grpc.upstream.exchanges"
        await collector.until(lambda: collector.total(exchanges, claude_grpc__state="connecting") == 1)
        call.cancel()
        await collector.until(lambda: collector.total(exchanges, claude_grpc__state="connecting") == 0)
