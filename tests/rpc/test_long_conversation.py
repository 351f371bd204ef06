"""Thirty turns with everything: nothing is lost, and each request begins with the bytes of the one before.

A prompt cache lives on that: a byte that changes in an early turn makes all that follow it be paid again. The simulator
refuses a changed signature, a lost result and a fifth cache mark.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from claude_grpc.codec import Encoder, Violations
from claude_grpc.simulator import SimulatorOptions
from claude_grpc.simulator.block_kinds import BLOCK_KINDS
from claude_grpc.v1.messages_pb2 import (
    ROLE_ASSISTANT,
    ROLE_USER,
    AssistantMessage,
    CreateMessageRequest,
    InputMessage,
    MessageParams,
    StreamMessageRequest,
)
from support.json_values import parse
from support.stack import Stack, drain, open_stack

TURNS = 30
BETAS = ["advisor-tool-2026-03-01", "compact-2026-01-12", "mcp-client-2026-09-15", "server-side-fallback-2026-07-01"]
MARKS = 4
END = b"]}"  # of the messages, which stand last, and of the body

ODD = '{"z" : 1.0 , "a":12345678901234567890, "e":"\\u00e9", "f": [ 1e3, null ] }'
HOUR = {"ttl": "1h"}
IMAGE = {"image": {"source": {"base64": {"media_type": "image/png", "data": b"\x89PNG" * 9}}}}
TALE = {"media_type": "text/plain", "data": "Once upon a time, “there” was é."}
DOCUMENT = {"document": {"source": {"text": TALE}, "title": "Tale", "citations": {"enabled": True}}}
SCHEMA = '{"type": "object" ,"properties":{"city": {"type":"string"}}}'
TOOL = {"custom": {"name": "get_weather", "input_schema_json": SCHEMA, "cache_control": HOUR}}
# What the turns ask for, beside one kind of block each.
ASKS = [
    "",
    "Use the tool. [[tool-input]]",
    f"Use the tool. [[tool-input {ODD}]]",
    "[[redacted-thinking]]",
    "[[unknown-block]]",
]


def begin(max_tokens: int) -> MessageParams:
    """A conversation with all the cache marks a request may have, and no turn yet."""
    fields: dict[str, Any] = {
        "model": "claude-opus-5-5",
        "max_tokens": max_tokens,
        "system": [{"text": {"text": "Be brief.", "cache_control": HOUR}}],
        "tools": [TOOL],
        "thinking": {"adaptive": {}},
        "cache_control": {},
    }
    return MessageParams(**fields)


def question(number: int) -> InputMessage:
    kinds = list(BLOCK_KINDS)[number % len(BLOCK_KINDS) :][:2]
    pause = ", pause_turn" if number % 7 == 3 else ""
    asked = f"{number}: {ASKS[number % len(ASKS)]} [[answer {', '.join(kinds)}{pause}]] [[extra-field]]"
    text: dict[str, Any] = {"text": asked} | ({"cache_control": HOUR} if number == 0 else {})
    media: list[Any] = [IMAGE] * (number % 3 == 0) + [DOCUMENT] * (number % 4 == 1)
    return InputMessage(role=ROLE_USER, content=[*media, {"text": text}])


def results(message: AssistantMessage) -> InputMessage:
    calls = [block.tool_use.id for block in message.content if block.type == "tool_use"]
    content: list[Any] = [{"tool_result": {"tool_use_id": call, "content": [IMAGE]}} for call in calls]
    return InputMessage(role=ROLE_USER, content=content)


def value(message: AssistantMessage) -> Any:
    return parse(Encoder(AssistantMessage.DESCRIPTOR).encode(message, Violations()))


class Conversation:
    """Asks each question both ways, and goes on with the streamed answer."""

    def __init__(self, stack: Stack, max_tokens: int) -> None:
        self.params = begin(max_tokens)
        self._stack = stack

    async def answer(self) -> AssistantMessage:
        created = await drain(self._stack.messages.CreateMessage(CreateMessageRequest(params=self.params, betas=BETAS)))
        assert created.events, created.message
        request = StreamMessageRequest(params=self.params, betas=BETAS)
        request.stream_options.include_final_message = True
        streamed = await drain(self._stack.messages.StreamMessage(request))
        final: AssistantMessage = streamed.events[-1].message_stop.message
        assert value(final) == value(created.events[0].message)
        self.params.messages.append(InputMessage(role=ROLE_ASSISTANT, content=final.content))
        return final

    async def take_turn(self, number: int) -> None:
        self.params.messages.append(question(number))
        message = await self.answer()
        while message.stop_reason_raw in {"tool_use", "pause_turn"}:
            if message.stop_reason_raw == "tool_use":
                self.params.messages.append(results(message))
            message = await self.answer()


@pytest.mark.parametrize("max_tokens", [4000, 30_000])
async def test_thirty_turns_lose_nothing_and_keep_their_prefix(max_tokens: int) -> None:
    async with open_stack(SimulatorOptions(history=1000)) as stack:
        conversation = Conversation(stack, max_tokens)
        for number in range(TURNS):
            await conversation.take_turn(number)
        bodies = [exchange.body for exchange in stack.simulator.requests]
        assert len(bodies) > 2 * TURNS
        for requests in (bodies[::2], bodies[1::2]):
            for before, after in pairwise(requests):
                assert before.endswith(END)
                assert after.startswith(before.removesuffix(END))
        assert {body.count(b'"cache_control":') for body in bodies} == {MARKS}
        last = json.loads(bodies[-1])
        kinds = {block["type"] for message in last["messages"] for block in message["content"]}
        assert {"thinking", "redacted_thinking", "tool_use", "image", "document", "compaction", "future_block"} <= kinds
        assert len([kind for kind in kinds if kind.endswith("_tool_result")]) == 8
