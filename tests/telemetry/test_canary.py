"""The watch that every test is under finds what it is there to find."""

from __future__ import annotations

import pytest

from claude_grpc.telemetry import model_calls, names
from claude_grpc.telemetry.metrics import Metrics
from support.canary import CANARY_KEY, CANARY_PROMPT, Watch
from support.stack import create, drain, open_stack, stream


async def test_every_gateway_of_a_test_is_watched(canary_watch: Watch) -> None:
    async with open_stack() as stack:
        await drain(stack.messages.StreamMessage(stream()))
    assert canary_watch.spans == 3
    assert canary_watch.points > 10


async def test_a_prompt_on_a_span_is_found(canary_watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(params: object) -> dict[str, str]:
        return {names.REQUEST_MODEL: str(params)}

    monkeypatch.setattr(model_calls, "request_attributes", careless)
    async with open_stack() as stack:
        await drain(stack.messages.CreateMessage(create()))
    assert [found.rpartition(": ")[2] for found in canary_watch.found] == [CANARY_PROMPT]
    canary_watch.found.clear()


async def test_a_key_in_a_metric_is_found(canary_watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Metrics.rpc_failed

    def careless(metrics: Metrics, method: str, reason: str) -> None:
        told(metrics, method, f"{reason} with {CANARY_KEY}")

    monkeypatch.setattr(Metrics, "rpc_failed", careless)
    async with open_stack() as stack:
        await drain(stack.messages.CreateMessage(create("[[error 400]]")))
    assert canary_watch.found == [f"the metric {names.METRIC_RPC_FAILURES}: {CANARY_KEY}"]
    canary_watch.found.clear()
