from __future__ import annotations

from typing import Any

import pytest

from claude_grpc.telemetry.request_attributes import request_attributes
from claude_grpc.v1.messages_pb2 import MessageParams

NAMES = {
    "max_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_k": "gen_ai.request.top_k",
    "top_p": "gen_ai.request.top_p",
    "service_tier": "anthropic.request.service_tier",
}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, {}),
        *(({name: value}, {NAMES[name]: value}) for name in NAMES if name != "service_tier" for value in (0, 1)),
        ({"service_tier": "standard_only"}, {NAMES["service_tier"]: "standard_only"}),
        ({"output_config": {"effort": "xhigh"}}, {"gen_ai.request.reasoning.level": "xhigh"}),
        ({"output_config": {}}, {}),
        (
            {"thinking": {"enabled": {"budget_tokens": 2048}}},
            {"anthropic.thinking.type": "enabled", "anthropic.thinking.budget_tokens": 2048},
        ),
        ({"thinking": {"adaptive": {}}}, {"anthropic.thinking.type": "adaptive"}),
        ({"thinking": {"opaque_json": '{"type":"secret"}'}}, {"anthropic.thinking.type": "_OTHER"}),
        ({"thinking": {}}, {"anthropic.thinking.type": "_OTHER"}),
        # What callers must not say on a span, or not as much of.
        ({"stop_sequences": ["secret"], "system_text": "secret"}, {}),
        ({"service_tier": "my secret"}, {NAMES["service_tier"]: "_OTHER"}),
        ({"output_config": {"effort": "x" * 33}}, {"gen_ai.request.reasoning.level": "_OTHER"}),
    ],
)
def test_a_span_tells_what_shapes_an_answer_and_no_text_of_a_callers(given: Any, told: dict[str, Any]) -> None:
    assert request_attributes(MessageParams(**given)) == told
