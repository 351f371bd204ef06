"""What spans and metrics say that calls have cost is what upstream has told, whatever became of the calls."""

from __future__ import annotations

import asyncio
import os
import random
from typing import Any

import grpc

from claude_grpc.simulator import SimulatorOptions
from claude_grpc.v1.cache_pb2 import CacheControl
from claude_grpc.v1.content_pb2 import ContentBlock, TextBlock
from claude_grpc.v1.messages_pb2 import (
    ROLE_ASSISTANT,
    ROLE_USER,
    CountTokensRequest,
    CreateMessageRequest,
    InputMessage,
    MessageParams,
    StreamMessageRequest,
    StreamOptions,
    ThinkingConfig,
    ThinkingEnabled,
)
from support.otlp import Collector
from support.stack import Stack, drain, open_stack

CALLS = int(os.environ.get("CLAUDE_GRPC_TEST_EXAMPLES", "100"))
MODELS = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "made-up")
ENDS = (
    "", "", "", "[[error 529 times=1 retry-after-ms=1]]", "[[error 500 times=5 retry-after-ms=1]]", "[[error 404]]",
    "[[cut at={at}]]", "[[truncate at={at}]]", "[[error-event at={at}]]", "[[stall at={at}]]",
    "[[slow-headers]]", "[[extra-field]]",
)  # fmt: skip
KINDS = {
    "input_tokens": ("input", "gen_ai.usage.input_tokens"),
    "output_tokens": ("output", "gen_ai.usage.output_tokens"),
    "cache_read_input_tokens": ("cache_read.input", "gen_ai.usage.cache_read.input_tokens"),
    "cache_creation_input_tokens": ("cache_write.input", "gen_ai.usage.cache_write.input_tokens"),
}


def make_params(rng: random.Random, number: int, end: str) -> MessageParams:
    """A conversation nobody else has, of a random size, cached or not, with an earlier answer or without."""
    said = TextBlock(text=f"Question {number}: " + "why " * rng.randrange(40))
    cached = rng.random() < 0.6
    if cached:
        said.cache_control.CopyFrom(CacheControl())
    messages = [InputMessage(role=ROLE_USER, content=[ContentBlock(text=said)])]
    if rng.random() < 0.5:
        messages += [InputMessage(role=ROLE_ASSISTANT, text="Because."), InputMessage(role=ROLE_USER, text="And?")]
    last = ContentBlock(text=TextBlock(text=f"Go on. {end}"))
    messages[-1] = InputMessage(role=ROLE_USER, content=[*messages[-1].content, last])
    params = MessageParams(model=rng.choice(MODELS), max_tokens=4000, messages=messages)
    if not cached and rng.random() < 0.5:
        params.thinking.CopyFrom(ThinkingConfig(enabled=ThinkingEnabled(budget_tokens=1024)))
    return params


async def make_call(stack: Stack, rng: random.Random, number: int) -> None:
    at = rng.randrange(1, 7)
    end = rng.choice(ENDS).format(at=at)
    params = make_params(rng, number, end)
    kind = rng.choice(("unary", "stream", "stream", "count"))
    if kind == "count":
        params.ClearField("max_tokens")
        await drain(
            stack.messages.CountTokens(
                CountTokensRequest(params=params), timeout=0.3 if "slow" in end or "stall" in end else 20
            )
        )
        return
    if kind == "unary":
        call = stack.messages.CreateMessage(CreateMessageRequest(params=params))
    else:
        exact = StreamOptions(exact_events=True)
        call = stack.messages.StreamMessage(StreamMessageRequest(params=params, stream_options=exact))
    if "slow-headers" in end or ("stall" in end and kind == "unary"):
        asyncio.get_running_loop().call_later(rng.random() * 0.1, call.cancel)
    try:
        if "stall" in end and kind == "stream":
            for _ in range(at):
                await call.read()
            call.cancel()
        else:
            await drain(call)
    except asyncio.CancelledError:
        assert call.cancelled()
    except grpc.aio.AioRpcError:
        assert params.model == "made-up"


def ledger_of_spans(collector: Collector) -> dict[str, int]:
    calls = [span for span in collector.spans if span.name.startswith("chat ")]
    return {kind: sum(call.attributes.get(name, 0) for call in calls) for kind, (_, name) in KINDS.items()}


def ledger_of_metrics(collector: Collector) -> dict[str, float]:
    prefix = "gen_ai.client.inference.usage"
    return {kind: collector.total(f"{prefix}.{name}_tokens") for kind, (name, _) in KINDS.items()}


async def test_usage_in_spans_and_metrics_is_what_upstream_has_told(collector: Collector, export_to: Any) -> None:
    export_to(collector.grpc_url, OTEL_BSP_MAX_QUEUE_SIZE="100000", OTEL_BSP_SCHEDULE_DELAY="200")
    rng = random.Random(6)
    numbers = iter(range(CALLS))
    async with open_stack(SimulatorOptions(history=1), max_retries=2, retry_budget=0, breaker_failures=0) as stack:

        async def work() -> None:
            for number in numbers:
                await make_call(stack, rng, number)

        await asyncio.gather(*(work() for _ in range(8)))
        told = stack.simulator.usage
    # The conventions count what comes from the cache and goes there as input.
    expected = {kind: told[kind] for kind in KINDS}
    expected["input_tokens"] += told["cache_read_input_tokens"] + told["cache_creation_input_tokens"]
    assert min(expected.values()) > 0
    assert ledger_of_spans(collector) == expected
    assert ledger_of_metrics(collector) == expected


async def test_tokens_are_told_by_model_and_tier(collector: Collector) -> None:
    async with open_stack() as stack:
        for model in MODELS[:2]:
            params = make_params(random.Random(1), 1, "")
            params.model = model
            await drain(stack.messages.CreateMessage(CreateMessageRequest(params=params)))
    found = {
        (labels["gen_ai.request.model"], labels["gen_ai.response.model"], labels["anthropic.response.service_tier"])
        for labels, _ in collector.points("gen_ai.client.inference.usage.output_tokens")
    }
    assert found == {(model, model, "standard") for model in MODELS[:2]}
