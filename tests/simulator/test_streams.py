from __future__ import annotations

from typing import Any

import pytest

from claude_grpc.simulator.raw_json import RawJson, encode

THINKING = {"type": "enabled", "budget_tokens": 1024}


@pytest.mark.parametrize("thinking", [{"type": "disabled"}, THINKING, THINKING | {"display": "omitted"}])
@pytest.mark.parametrize("question", ["Why?", "Use the tool. [[unknown-block]] [[redacted-thinking]]"])
async def test_the_events_add_up_to_the_message(
    ask: Any, merge: Any, weather_tool: dict[str, Any], thinking: dict[str, Any], question: str
) -> None:
    parameters = {"thinking": thinking, "tools": [weather_tool]}
    whole = await ask(question, **parameters)
    streamed = await ask(question, stream=True, **parameters)
    assert merge(streamed.events) == whole.json


async def test_citations_come_as_deltas(ask: Any, merge: Any) -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "Once."}
    document = {"type": "document", "source": source, "citations": {"enabled": True}}
    messages = [{"role": "user", "content": [document]}]
    streamed = await ask(messages, stream=True)
    assert merge(streamed.events) == (await ask(messages)).json
    assert [event["delta"]["type"] for event in streamed.events if "index" in event and "delta" in event][:2] == [
        "citations_delta",
        "text_delta",
    ]


async def test_events_come_in_the_order_of_the_api(ask: Any) -> None:
    reply = await ask("Hi", stream=True, thinking={"type": "adaptive", "display": "omitted"}, max_tokens=100)
    assert reply.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    kinds = reply.kinds
    assert kinds == [event["type"] for event in reply.events]
    assert kinds[:5] == ["message_start", "ping", "content_block_start", "content_block_delta", "content_block_stop"]
    assert reply.events[2]["content_block"] == {"type": "thinking", "thinking": "", "signature": ""}
    assert reply.events[3]["delta"]["type"] == "signature_delta"
    assert kinds[5:7] == ["content_block_start", "content_block_delta"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]


async def test_the_start_is_empty_and_the_end_has_the_whole_usage(ask: Any) -> None:
    events = (await ask("Hi", stream=True)).events
    start = events[0]["message"]
    assert (start["content"], start["stop_reason"], start["usage"]["output_tokens"]) == ([], None, 1)
    assert events[-2]["delta"]["stop_reason"] == "end_turn"
    assert events[-2]["usage"]["input_tokens"] == start["usage"]["input_tokens"]
    assert events[-2]["usage"]["output_tokens"] > 1


async def test_tool_input_comes_in_fragments_the_first_empty(ask: Any, weather_tool: dict[str, Any]) -> None:
    events = (await ask(stream=True, tools=[weather_tool], tool_choice={"type": "any"})).events
    assert events[2]["content_block"]["input"] == {}
    fragments = [event["delta"]["partial_json"] for event in events if event["type"] == "content_block_delta"]
    assert fragments[0] == ""
    assert len(fragments) > 3
    assert "".join(fragments) == '{"city":"city","days":7}'


async def test_a_tool_input_that_max_tokens_cut_ends_in_the_middle(ask: Any, weather_tool: dict[str, Any]) -> None:
    reply = await ask(stream=True, tools=[weather_tool], tool_choice={"type": "any"}, max_tokens=1)
    fragments = [event["delta"]["partial_json"] for event in reply.events if event["type"] == "content_block_delta"]
    assert "".join(fragments) == '{"city":"cit'
    assert reply.events[-2]["delta"]["stop_reason"] == "max_tokens"


async def test_an_answer_of_no_tokens_has_no_block(ask: Any) -> None:
    assert (await ask(stream=True, max_tokens=0)).kinds == ["message_start", "ping", "message_delta", "message_stop"]


async def test_some_events_are_padded_and_the_bytes_are_the_same(ask: Any) -> None:
    first, second = await ask(stream=True), await ask(stream=True)
    assert first.body == second.body
    padded = [frame.endswith(" }") for frame in first.frames]
    assert True in padded
    assert False in padded


def test_raw_json_keeps_its_spelling_at_any_depth() -> None:
    value = {"é": [RawJson('{ "b":1.0,"a":"\\u00e9" }'), None, True, 'é"']}
    assert encode(value) == '{"\\u00e9":[{ "b":1.0,"a":"\\u00e9" },null,true,"é\\""]}'
