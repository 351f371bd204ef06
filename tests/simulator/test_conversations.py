from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

THINKING = {"type": "enabled", "budget_tokens": 1024}
VERSION_2023 = "2023-06-01"


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def text(value: str = "Hi", **fields: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **fields}


def call(name: str = "toolu_1", **fields: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": name, "name": "a", "input": {}, **fields}


def result(name: str = "toolu_1", **fields: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": name, "content": "done", **fields}


DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Once."}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
PLACE = {"cited_text": "Once", "document_index": 0, "document_title": None, "start_char_index": 0, "end_char_index": 4}
CITED = text(citations=[{"type": "char_location", **PLACE}])


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "messages: at least one message is required"),
        ([1], "messages.0: Input should be a valid dictionary"),
        ([{"content": "Hi"}], "messages.0.role: Field required"),
        ([{"role": "user"}], "messages.0.content: Field required"),
        ([{"role": "tool", "content": "Hi"}], "messages.0.role: Input should be 'user', 'assistant' or 'system'"),
        ([{"role": "user", "content": "Hi", "name": "Bo"}], "messages.0.name: Extra inputs are not permitted"),
        ([{"role": "user", "content": ""}], "messages.0: user messages must have non-empty content"),
        ([assistant(), user(text())], "messages.0: assistant messages must have non-empty content"),
        ([{"role": "user", "content": 1}], "messages.0.content: Input should be a valid list"),
        ([user("Hi")], "messages.0.content.0: Input should be a valid dictionary"),
        ([user({"text": "Hi"})], "messages.0.content.0.type: Field required"),
        ([user({"type": "hologram"})], "messages.0.content.0: Input tag 'hologram' found using 'type'"),
        ([user({"type": "text"})], "messages.0.content.0.text.text: Field required"),
        ([user(text(), text(more=1))], "messages.0.content.1.text.more: Extra inputs are not permitted"),
        ([user(text(""))], "messages: text content blocks must be non-empty"),
        ([user({"type": "text", "text": 1})], "messages.0.content.0.text.text: Input should be a valid string"),
        ([{"role": "system", "content": [IMAGE]}], "messages.0.content.0: Input tag 'image' found using 'type'"),
        ([user(IMAGE | {"source": {"type": "ftp"}})], "messages.0.content.0.image.source: Input tag 'ftp' found"),
        (
            [user(IMAGE | {"source": {"type": "base64", "data": "?"}})],
            "messages.0.content.0.image.source.base64.data: Input should be valid base64",
        ),
        (
            [user(DOCUMENT | {"source": {"type": "text"}})],
            "messages.0.content.0.document.source.text.data: Input should be a valid string",
        ),
        ([user(call())], "messages.0.content.0: `tool_use` blocks can only be in `assistant` messages"),
        ([assistant(result())], "messages.0.content.0: `tool_result` blocks can only be in `user` messages"),
        ([assistant(call("a b"))], "messages.0.content.0.tool_use.id: String should match pattern"),
        ([assistant(call(input="{}"))], "messages.0.content.0.tool_use.input: Input should be a valid dictionary"),
        (
            [assistant(call()), user(result(content=[call()]))],
            "messages.1.content.0.tool_result.content.0: Input tag 'tool_use' found using 'type'",
        ),
        ([assistant(call())], "messages.0: `tool_use` ids were found without `tool_result` blocks immediately after"),
        ([assistant(call()), user(text(), result())], "messages.0: `tool_use` ids were found without"),
        ([assistant(call(), call("toolu_2")), user(result())], "messages.0: `tool_use` ids were found without"),
        (
            [user(text()), user(result())],
            "messages.1.content.0: unexpected `tool_use_id` found in `tool_result` blocks",
        ),
        ([assistant(call()), user(result(), result("toolu_2"))], "messages.1.content.1: unexpected `tool_use_id`"),
        ([assistant(call()), user(result(), result())], "messages.1.content.1: each `tool_use` must have a single"),
        ([assistant(DOCUMENT), user(text())], "messages.0.content.0: `document` blocks are not permitted"),
        ([user(CITED)], "messages.0.content.0.text.citations: citations are only permitted in `assistant` messages"),
        (
            [user({"type": "search_result", "source": "s", "title": "t", "content": [CITED]})],
            "messages.0.content.0.search_result.content.0.text.citations: citations are only",
        ),
    ],
)
async def test_a_broken_rule_is_named_with_its_place(ask: Any, messages: list[Any], message: str) -> None:
    reply = await ask(messages)
    assert reply.status == 400
    assert reply.error.startswith(message)
    assert (await ask.count(messages)).error == reply.error


@pytest.mark.parametrize(
    "messages",
    [
        [assistant(text())],
        [assistant()],
        [user(text()), {"role": "system", "content": "Be short."}],
        [user(IMAGE, DOCUMENT, text())],
        [assistant(CITED), user(text())],
        [assistant(call(), call("toolu_2")), user(result()), user(result("toolu_2"), text())],
        [assistant(call()), user(result(content=[text(), IMAGE]))],
        [assistant(call()), user({"type": "tool_result", "tool_use_id": "toolu_1"})],
    ],
)
async def test_what_the_api_takes_is_taken(ask: Any, messages: list[Any]) -> None:
    assert (await ask(messages)).status == 200


@pytest.mark.parametrize("messages", [[assistant(DOCUMENT), user(text())], [user(CITED)]])
async def test_the_older_version_takes_documents_and_citations_anywhere(ask: Any, messages: list[Any]) -> None:
    assert (await ask.post(ask.body(messages), anthropic_version=VERSION_2023)).status == 200


async def test_the_system_prompt_holds_text_alone(ask: Any) -> None:
    assert (await ask(system=[text()])).status == 200
    assert (await ask(system=[IMAGE])).error.startswith("system.0: Input tag 'image' found using 'type'")


TurnOf = Callable[..., list[dict[str, Any]]]


@pytest.mark.parametrize("thinking", [THINKING, THINKING | {"display": "omitted"}, {"type": "adaptive"}])
async def test_thinking_is_taken_back_as_it_was_sent(ask: Any, turn_of: TurnOf, thinking: dict[str, Any]) -> None:
    reply = await ask("Why? [[redacted-thinking]]", thinking=thinking)
    assert [block["type"] for block in reply.json["content"]] == ["thinking", "redacted_thinking", "text"]
    messages = turn_of("Why? [[redacted-thinking]]", reply, "And then?")
    assert (await ask(messages, thinking=thinking)).status == 200
    assert (await ask(messages)).status == 200


@pytest.mark.parametrize(
    ("number", "change", "message"),
    [
        (0, {"thinking": "I thought so."}, "messages.1.content.0: Invalid `signature` in `thinking` block"),
        (0, {"signature": "AAAA"}, "messages.1.content.0: Invalid `signature` in `thinking` block"),
        (0, {"signature": "é"}, "messages.1.content.0: Invalid `signature` in `thinking` block"),
        (0, {"signature": None}, "messages.1.content.0: Invalid `signature` in `thinking` block"),
        (1, {"data": "AAAA"}, "messages.1.content.1: Invalid `data` in `redacted_thinking` block"),
        (2, {"signature": "AAAA"}, "messages.1.content.2: Invalid `signature` in `future_block` block"),
        (2, {"future_field": 1}, "messages.1.content.2.future_block.future_field: Input differs from what was sent"),
    ],
)
async def test_a_changed_block_is_refused(
    ask: Any, turn_of: TurnOf, number: int, change: dict[str, Any], message: str
) -> None:
    question = "Why? [[redacted-thinking]] [[unknown-block]]"
    messages = turn_of(question, await ask(question, thinking=THINKING), "And then?")
    assert (await ask(messages, thinking=THINKING)).status == 200
    messages[1]["content"][number] |= change
    reply = await ask(messages, thinking=THINKING)
    assert reply.error == message


async def test_a_signature_is_good_for_its_model_alone(ask: Any, turn_of: TurnOf) -> None:
    messages = turn_of("Why?", await ask("Why?", thinking=THINKING), "And then?")
    reply = await ask(messages, model="claude-opus-5")
    assert reply.error == "messages.1.content.0: Invalid `signature` in `thinking` block"


async def test_unknown_fields_are_taken_back_equal_and_refused_changed(ask: Any, turn_of: TurnOf) -> None:
    messages = turn_of("Why? [[extra-field]]", await ask("Why? [[extra-field]]"), "And then?")
    assert (await ask(messages)).status == 200
    messages[1]["content"][0]["future_field"]["z"] = 1
    assert (await ask(messages)).status == 200
    messages[1]["content"][0]["future_field"]["a"] = float(12345678901234567890)
    reply = await ask(messages)
    assert reply.error == "messages.1.content.0.text.future_field: Input differs from what was sent"


async def test_an_unknown_block_without_one_of_its_fields_is_refused(ask: Any, turn_of: TurnOf) -> None:
    messages = turn_of("[[unknown-block]]", await ask("[[unknown-block]]"), "And then?")
    del messages[1]["content"][0]["future_field"]
    reply = await ask(messages)
    assert reply.error == "messages.1.content.0.future_block.future_field: Field required"


async def test_with_thinking_on_a_tool_call_is_sent_back_with_its_thinking(
    ask: Any, turn_of: TurnOf, weather_tool: dict[str, Any]
) -> None:
    parameters = {"thinking": THINKING, "tools": [weather_tool]}
    reply = await ask("Use the tool.", **parameters)
    answer = result(reply.json["content"][-1]["id"])
    messages = turn_of("Use the tool.", reply, [answer])
    assert (await ask(messages, **parameters)).status == 200
    del messages[1]["content"][0]
    reply = await ask(messages, **parameters)
    assert reply.error.startswith(
        "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `text`."
    )
    assert (await ask(messages, tools=[weather_tool])).status == 200


async def test_ten_turns_with_thinking_and_tools_are_accepted(ask: Any, weather_tool: dict[str, Any]) -> None:
    messages: list[dict[str, Any]] = []
    for number in range(10):
        messages.append(user(text(f"Question {number}: use the tool. [[unknown-block]] [[tool-input]]")))
        for reason in ("tool_use", "end_turn"):
            reply = await ask(messages, thinking=THINKING, tools=[weather_tool])
            assert reply.json["stop_reason"] == reason, json.dumps(reply.json)
            messages.append(assistant(*reply.json["content"]))
            if reason == "tool_use":
                messages.append(user(result(reply.json["content"][-1]["id"])))
