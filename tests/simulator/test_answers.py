from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

from claude_grpc.simulator import Simulator, SimulatorOptions
from claude_grpc.simulator.tool_calls import example

THINKING = {"type": "enabled", "budget_tokens": 1024}
MARK = {"cache_control": {"type": "ephemeral"}}
TurnOf = Callable[..., list[dict[str, Any]]]

ANSWER = """
import sys
from claude_grpc.simulator.messages import build_answer
from claude_grpc.simulator.prompt import read_prompt
from claude_grpc.simulator.raw_json import encode
from claude_grpc.simulator.signing import Signer
answer = build_answer(read_prompt(sys.stdin.buffer.read()), Signer(b"key", "m"))
sys.stdout.buffer.write(encode(answer.message).encode())
"""


async def test_the_answer_is_an_echo_in_a_sentence(ask: Any) -> None:
    message = (await ask("Wie heißt du?")).json
    assert message["content"] == [
        {"type": "text", "text": "You asked: “Wie heißt du?”. I am a simulator, so this echo is my whole answer."}
    ]
    assert (message["stop_reason"], message["stop_sequence"]) == ("end_turn", None)
    assert message["id"].startswith("msg_01")


async def test_a_question_in_blocks_is_echoed_whole(ask: Any) -> None:
    blocks = [{"type": "text", "text": "One?"}, {"type": "text", "text": "Two?"}]
    reply = await ask([{"role": "user", "content": blocks[:1]}, {"role": "user", "content": blocks[1:]}])
    assert "“One?\nTwo?”" in reply.json["content"][0]["text"]


async def test_the_same_request_gets_the_same_bytes(ask: Any) -> None:
    question = "Why? [[unknown-block]] [[redacted-thinking]]"
    first, second = await ask(question, thinking=THINKING), await ask(question, thinking=THINKING)
    assert first.body == second.body
    assert (await ask("Why not?")).json["id"] != first.json["id"]
    async with Simulator() as other:
        ask.base_url = other.base_url
        assert (await ask(question, thinking=THINKING)).body == first.body


async def test_processes_agree_on_the_bytes(ask: Any, weather_tool: dict[str, Any]) -> None:
    question = "Use the tool. [[extra-field]] [[unknown-block]]"
    body = json.dumps(ask.body(question, thinking=THINKING, tools=[weather_tool])).encode()
    answers = set()
    for seed in ("1", "2"):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            ANSWER,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        answers.add((await process.communicate(body))[0])
    assert len(answers) == 1
    assert json.loads(answers.pop())["type"] == "message"


async def test_thinking_comes_first_and_is_signed(ask: Any) -> None:
    thinking, text = (await ask("Why?", thinking=THINKING)).json["content"]
    assert "“Why?”" in thinking["thinking"]
    assert len(thinking["signature"]) > 80
    assert text["type"] == "text"


async def test_omitted_thinking_is_empty_signed_and_paid_for(ask: Any) -> None:
    shown = (await ask("Why?", thinking=THINKING)).json
    omitted = (await ask("Why?", thinking=THINKING | {"display": "omitted"})).json
    assert omitted["content"][0]["thinking"] == ""
    assert omitted["content"][0]["signature"] != shown["content"][0]["signature"]
    assert omitted["usage"]["output_tokens_details"] == shown["usage"]["output_tokens_details"]
    assert omitted["usage"]["output_tokens"] == shown["usage"]["output_tokens"]


@pytest.mark.parametrize("thinking", [{"type": "disabled"}, {"type": "between_tools"}])
async def test_thinking_that_is_off_is_not_sent(ask: Any, thinking: dict[str, Any]) -> None:
    assert [block["type"] for block in (await ask(thinking=thinking)).json["content"]] == ["text"]


async def test_max_tokens_ends_the_answer(ask: Any) -> None:
    message = (await ask("One two three", max_tokens=5)).json
    assert message["content"] == [{"type": "text", "text": "You asked: “One two three”."}]
    assert (message["stop_reason"], message["usage"]["output_tokens"]) == ("max_tokens", 5)


async def test_max_tokens_of_none_is_no_answer(ask: Any) -> None:
    message = (await ask(max_tokens=0)).json
    assert (message["content"], message["stop_reason"]) == ([], "max_tokens")


async def test_thinking_that_max_tokens_cut_is_signed(ask: Any, turn_of: TurnOf) -> None:
    reply = await ask("Why?", thinking={"type": "adaptive"}, max_tokens=3)
    assert [block["type"] for block in reply.json["content"]] == ["thinking"]
    assert (await ask(turn_of("Why?", reply, "And?"))).status == 200


async def test_the_first_stop_sequence_in_the_text_ends_it(ask: Any) -> None:
    message = (await ask("red green blue", stop_sequences=["blue", "green", "none"])).json
    assert message["content"][0]["text"] == "You asked: “red "
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "green")


async def test_max_tokens_before_the_stop_sequence_is_the_reason(ask: Any) -> None:
    message = (await ask("red green blue", stop_sequences=["blue"], max_tokens=2)).json
    assert (message["stop_reason"], message["stop_sequence"]) == ("max_tokens", None)


async def test_a_tool_is_called_when_the_text_asks_for_it(ask: Any, weather_tool: dict[str, Any]) -> None:
    message = (await ask("Please use the tool.", tools=[weather_tool])).json
    text, call = message["content"]
    assert text["text"] == "I will call get_weather."
    assert (call["name"], call["input"]) == ("get_weather", {"city": "city", "days": 7})
    assert call["id"].startswith("toolu_01")
    assert message["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("question", "choice", "called"),
    [
        ("Hello", None, []),
        ("Hello", {"type": "auto"}, []),
        ("Hello", {"type": "any"}, ["first"]),
        ("Hello", {"type": "tool", "name": "second"}, ["second"]),
        ("Use the tool second", None, ["second"]),
        ("Call the tools", None, ["first", "second"]),
        ("Call the tools", {"type": "auto", "disable_parallel_tool_use": True}, ["first"]),
        ("Call the tools", {"type": "any"}, ["first", "second"]),
        ("Call the tools", {"type": "none"}, []),
    ],
)
async def test_tool_choice_is_honoured(ask: Any, question: str, choice: Any, called: list[str]) -> None:
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in ("first", "second")]
    parameters = {"tools": [*tools, {"type": "web_search_20250305", "name": "web_search"}]}
    message = (await ask(question, **parameters, **({"tool_choice": choice} if choice else {}))).json
    calls = [block for block in message["content"] if block["type"] == "tool_use"]
    assert [call["name"] for call in calls] == called
    assert len({call["id"] for call in calls}) == len(called)
    assert message["stop_reason"] == ("tool_use" if called else "end_turn")


@pytest.mark.parametrize("content", ["18 degrees", [{"type": "text", "text": "18 degrees"}]])
async def test_the_result_of_a_tool_is_quoted(
    ask: Any, turn_of: TurnOf, weather_tool: dict[str, Any], content: Any
) -> None:
    call = await ask("Use the tool.", tools=[weather_tool])
    result = {"type": "tool_result", "tool_use_id": call.json["content"][-1]["id"], "content": content}
    message = (await ask(turn_of("Use the tool.", call, [result]), tools=[weather_tool])).json
    assert message["content"] == [{"type": "text", "text": "The tool answered: “18 degrees”."}]
    assert message["stop_reason"] == "end_turn"


async def test_a_tool_input_that_max_tokens_cut_is_empty_json(ask: Any, weather_tool: dict[str, Any]) -> None:
    message = (await ask(tools=[weather_tool], tool_choice={"type": "any"}, max_tokens=1)).json
    assert (message["content"][0]["input"], message["stop_reason"]) == ({}, "max_tokens")


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "value"),
        ({"type": "string", "default": "a", "const": "b"}, "b"),
        ({"enum": ["a", "b"]}, "a"),
        ({"type": "string", "examples": ["a"]}, "a"),
        ({"type": ["integer", "null"]}, 7),
        ({"type": "integer", "minimum": 10}, 10),
        ({"type": "integer", "maximum": 3}, 3),
        ({"type": "number"}, 1.5),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [7, 7]),
        ({"properties": {"a": {"properties": {"b": {}}}}}, {"a": {"b": "b"}}),
        ({"type": "object", "properties": None}, {}),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, True),
        ({"$defs": {"a": {"const": 1}}, "type": "object", "properties": {"b": {"$ref": "#/$defs/a"}}}, {"b": 1}),
        ({"$ref": "#/nowhere"}, None),
        ({"$ref": "#"}, None),
        (True, None),
    ],
)
def test_values_are_made_from_the_schema(schema: Any, value: Any) -> None:
    assert example(schema) == value


@pytest.mark.parametrize("schema", [{"type": {}}, {"$ref": 1}, {"enum": {"a": 1}}, {"type": "array", "minItems": "1"}])
async def test_a_schema_that_is_none_is_refused(ask: Any, schema: dict[str, Any]) -> None:
    tool = {"name": "a", "input_schema": {"type": "object", "properties": {"b": schema}}}
    reply = await ask("Use the tool.", tools=[tool])
    assert (reply.status, reply.error[:22]) == (400, "JSON schema is invalid")


async def test_a_schema_for_the_output_is_answered_with_json(ask: Any) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    reply = await ask(output_config={"format": {"type": "json_schema", "schema": schema}})
    assert json.loads(reply.json["content"][0]["text"]) == {"name": "name"}


async def test_a_document_that_allows_it_is_cited(ask: Any, turn_of: TurnOf) -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "Once upon a time there was a gateway."}
    document = {"type": "document", "source": source, "citations": {"enabled": True}, "title": "Tale"}
    content = [{"type": "document", "source": source}, document, {"type": "text", "text": "Who?"}]
    reply = await ask([{"role": "user", "content": content}])
    assert reply.json["content"][0]["citations"] == [
        {
            "type": "char_location",
            "cited_text": "Once upon a time the",
            "document_index": 1,
            "document_title": "Tale",
            "start_char_index": 0,
            "end_char_index": 20,
            "file_id": None,
        }
    ]
    assert (await ask(turn_of("Who?", reply, "Thanks."))).status == 200


async def test_counted_tokens_are_the_input_of_the_answer(ask: Any, weather_tool: dict[str, Any]) -> None:
    parameters = {"system": [{"type": "text", "text": "Be short."} | MARK], "tools": [weather_tool | MARK]}
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGlp" * 1000}}
    messages = [{"role": "user", "content": [image, {"type": "text", "text": "What is it?"}]}]
    counted = (await ask.count(messages, **parameters)).json
    usage = (await ask(messages, **parameters)).json["usage"]
    kinds = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    assert counted == {"input_tokens": sum(usage[kind] for kind in kinds)}
    assert (await ask.count("Hi")).json["input_tokens"] < counted["input_tokens"]


async def test_what_is_marked_is_written_to_the_cache_and_then_read(ask: Any, turn_of: TurnOf) -> None:
    system = [{"type": "text", "text": "Be short.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    first = await ask(system=system)
    usage = first.json["usage"]
    assert usage["cache_creation_input_tokens"] == usage["cache_creation"]["ephemeral_1h_input_tokens"] > 0
    assert (usage["cache_creation"]["ephemeral_5m_input_tokens"], usage["cache_read_input_tokens"]) == (0, 0)
    again = (await ask(turn_of("Hello", first, "Thanks."), system=system)).json["usage"]
    assert (again["cache_creation_input_tokens"], again["cache_read_input_tokens"]) == (
        0,
        usage["cache_creation_input_tokens"],
    )


async def test_a_mark_on_the_whole_request_caches_it_whole(ask: Any) -> None:
    usage = (await ask(**MARK)).json["usage"]
    assert (usage["input_tokens"], usage["cache_creation"]["ephemeral_5m_input_tokens"] > 0) == (0, True)


async def test_a_mark_inside_a_tool_result_counts(ask: Any) -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "a", "input": {}}
    content = [{"type": "text", "text": "done"} | MARK]
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": content}
    reply = await ask([{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}])
    assert reply.json["usage"]["cache_read_input_tokens"] > 0


async def test_the_simulator_adds_up_what_it_used(ask: Any, simulator: Simulator) -> None:
    usages = [(await ask(question)).json["usage"] for question in ("One", "Two or three")]
    for kind in ("input_tokens", "output_tokens"):
        assert simulator.usage[kind] == sum(usage[kind] for usage in usages)


async def test_another_key_signs_otherwise(ask: Any) -> None:
    thinking = (await ask(thinking=THINKING)).json["content"][0]
    async with Simulator(SimulatorOptions(signing_key=b"another")) as other:
        ask.base_url = other.base_url
        reply = await ask([{"role": "assistant", "content": [thinking]}, {"role": "user", "content": "And?"}])
    assert reply.error == "messages.0.content.0: Invalid `signature` in `thinking` block"


@pytest.mark.parametrize(
    ("tool", "name", "toolset"),
    [
        ({"type": "bash_20250124", "name": "bash"}, "bash", None),
        ({"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"}, "str_replace_based_edit_tool", None),
        ({"type": "memory_20250818", "name": "memory"}, "memory", None),
        ({"type": "computer_toolset_20260801"}, "screenshot", "computer_toolset"),
        ({"type": "browser_toolset_20260801"}, "navigate", "browser_toolset"),
    ],
)
async def test_a_tool_of_the_api_that_the_caller_runs_is_called(
    ask: Any, turn_of: TurnOf, tool: dict[str, Any], name: str, toolset: str | None
) -> None:
    reply = await ask("Use the tool.", tools=[tool])
    call = reply.json["content"][-1]
    assert (call["name"], call.get("toolset_name"), reply.json["stop_reason"]) == (name, toolset, "tool_use")
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "done", "toolset_name": toolset}
    assert (await ask(turn_of("Use the tool.", reply, [result]), tools=[tool])).status == 200
