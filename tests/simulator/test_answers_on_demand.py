"""Every block and fact of the API on demand: streamed as created, taken back as sent, refused when changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from claude_grpc.simulator import faults
from claude_grpc.simulator.block_kinds import BLOCK_KINDS
from claude_grpc.simulator.message_facts import FACTS

BETAS = (
    "advisor-tool-2026-03-01,compact-2026-01-12,mcp-client-2026-09-15,server-side-fallback-2026-07-01,"
    "context-management-2025-06-27"
)
THINKING = {"type": "adaptive"}
SIGNATURES = {"signature", "data", "encrypted_content", "encrypted_index", "encrypted_stdout"}


def messages(question: str, content: Any, following: Any = "And then?") -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": question},
        {"role": "assistant", "content": content},
        {"role": "user", "content": following},
    ]


@pytest.fixture
def ask_all(ask: Any) -> Any:
    async def post(text: Any, **parameters: Any) -> Any:
        return await ask.post(ask.body(text, **parameters), anthropic_beta=BETAS)

    return post


@pytest.mark.parametrize("name", [*BLOCK_KINDS, *FACTS])
async def test_what_is_named_is_sent_streamed_the_same_and_taken_back(ask_all: Any, merge: Any, name: str) -> None:
    question = f"Why? [[answer {name}]] [[extra-field]]"
    whole = await ask_all(question, thinking=THINKING)
    assert whole.status == 200, whole.error
    streamed = await ask_all(question, thinking=THINKING, stream=True)
    assert merge(streamed.events) == whole.json
    assert (await ask_all(messages(question, whole.json["content"]), thinking=THINKING)).status == 200


async def test_all_blocks_of_one_answer_come_in_order_with_ids_of_their_own(ask_all: Any) -> None:
    content = (await ask_all(f"[[answer {', '.join(BLOCK_KINDS)}]]")).json["content"]
    calls = [block["id"] for block in content if "id" in block]
    assert len(set(calls)) == len(calls)
    kinds = {block["type"] for block in content}
    assert {
        "server_tool_use",
        "mcp_tool_use",
        "mcp_tool_listing",
        "container_upload",
        "fallback",
        "compaction",
    } <= kinds
    assert len([kind for kind in kinds if kind.endswith("_tool_result")]) == 8
    cited = {citation["type"] for block in content for citation in block.get("citations", ())}
    assert len(cited) == 5
    assert content[-1]["type"] == "text"


def signed(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a value that has a signature."""
    if isinstance(value, dict):
        if SIGNATURES & value.keys():
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from signed(item)


SIGNED = [
    "web_search",
    "web_search_from_code",
    "code_execution_encrypted",
    "advisor_redacted",
    "compaction",
    "citations",
]


@pytest.mark.parametrize("change", ["signature", "beside", "gone"])
@pytest.mark.parametrize("name", SIGNED)
async def test_what_is_signed_is_refused_when_any_of_it_has_changed(ask_all: Any, name: str, change: str) -> None:
    question = f"[[answer {name}]]"
    body = (await ask_all(question)).body
    count = len(list(signed(json.loads(body)["content"])))
    assert count
    for number in range(count):
        content = json.loads(body)["content"]
        place = list(signed(content))[number]
        seal = next(key for key in place if key in SIGNATURES)
        beside = next((key for key in place if isinstance(place[key], str) and key not in {"type", seal}), seal)
        if change == "gone":
            del place[seal]
        else:
            place[seal if change == "signature" else beside] += "A"
        assert (await ask_all(messages(question, content))).status == 400


def test_every_name_is_documented() -> None:
    for name in (*BLOCK_KINDS, *FACTS):
        assert f"``{name}``" in str(faults.__doc__)


async def test_an_answer_that_nobody_knows_is_refused(ask: Any) -> None:
    reply = await ask("[[answer web_search, hologram]]")
    assert (reply.status, reply.error[:24]) == (400, "[[answer]]: no `hologram")


async def test_the_input_of_server_tools_can_be_chosen_to_the_byte(ask: Any) -> None:
    reply = await ask('[[answer bash]] [[tool-input { "a" : 1.0 }]]')
    assert b'"input":{ "a" : 1.0 }' in reply.body


async def test_calls_of_server_tools_are_counted(ask: Any) -> None:
    usage = (await ask("[[answer web_search web_fetch web_search_from_code bash]]")).json["usage"]
    assert usage["server_tool_use"] == {"web_search_requests": 2, "web_fetch_requests": 1}
    assert (await ask()).json["usage"]["server_tool_use"] is None


@pytest.mark.parametrize("tokens", range(1, 9))
async def test_max_tokens_never_ends_an_answer_between_a_call_and_its_result(ask: Any, tokens: int) -> None:
    question = "Why? [[answer web_search_from_code, bash]]"
    reply = await ask(question, max_tokens=tokens)
    content = reply.json["content"]
    assert reply.json["stop_reason"] == "max_tokens"
    assert {block["id"] for block in content if "id" in block} == {
        block["tool_use_id"] for block in content if "tool_use_id" in block
    }


async def test_a_refusal_says_why(ask: Any) -> None:
    message = (await ask("[[answer refusal]]")).json
    assert (message["stop_reason"], message["stop_details"]["category"]) == ("refusal", "cyber")
    cut = (await ask("[[answer refusal]]", max_tokens=1)).json
    assert (cut["stop_reason"], cut["stop_details"]) == ("max_tokens", None)


async def test_a_paused_turn_goes_on_when_it_is_sent_back(ask: Any) -> None:
    question = "[[answer web_search, pause_turn]]"
    paused = (await ask(question)).json
    assert paused["stop_reason"] == "pause_turn"
    again = await ask(messages(question, paused["content"])[:2])
    assert again.json["stop_reason"] == "end_turn"


async def test_a_turn_that_calls_a_tool_does_not_pause(ask: Any, weather_tool: dict[str, Any]) -> None:
    reply = await ask("Use the tool. [[answer pause_turn]]", tools=[weather_tool])
    assert reply.json["stop_reason"] == "tool_use"


async def test_a_fallback_names_the_model_that_answered(ask_all: Any) -> None:
    whole = (await ask_all("[[answer fallback, input_transformations]]")).json
    events = (await ask_all("[[answer fallback, input_transformations]]", stream=True)).events
    assert (events[0]["message"]["model"], whole["model"]) == ("claude-sonnet-5", "claude-haiku-4-5")
    assert events[0]["message"]["input_transformations"] is None
    assert events[-2]["input_transformations"] == whole["input_transformations"]


async def test_a_pause_after_compaction_is_a_compaction_and_costs_nothing_but_that(ask_all: Any) -> None:
    message = (await ask_all("[[answer pause_after_compaction]]", thinking=THINKING)).json
    assert [block["type"] for block in message["content"]] == ["compaction"]
    assert (message["stop_reason"], message["usage"]["output_tokens"]) == ("compaction", 0)
    assert [iteration["type"] for iteration in message["usage"]["iterations"]] == ["compaction"]
