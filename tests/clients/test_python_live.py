"""The client against a real gateway process and the simulator behind it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from claude_grpc.v1 import content_pb2, messages_pb2, tools_pb2
from claude_grpc_client import AsyncClient, Client, InvalidRequestError, Turn, ask, text_of, thinking_of, turn, user

THINKING = messages_pb2.ThinkingConfig(enabled=messages_pb2.ThinkingEnabled(budget_tokens=1024))
LOOK_UP = tools_pb2.Tool(
    custom=tools_pb2.CustomTool(
        name="look_up",
        description="Looks a word up.",
        input_schema_json='{"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}',
    )
)
OPTIONS: dict[str, Any] = {"model": ask.DEFAULT_MODEL, "max_tokens": 4096, "thinking": THINKING}


def converse() -> Generator[list[Turn], messages_pb2.AssistantMessage, list[messages_pb2.AssistantMessage]]:
    """Yield the turns so far, be sent Claude's next one; return Claude's ten turns, half of them tool calls."""
    turns: list[Turn] = []
    answers: list[messages_pb2.AssistantMessage] = []
    for number in range(5):
        turns.append(user(f"Question {number}: use the tool for the word tide{number}."))
        call = yield turns
        turns.append(turn(call))
        results = [
            content_pb2.ContentBlock(
                tool_result=content_pb2.ToolResultBlock(tool_use_id=block.tool_use.id, text="water that comes and goes")
            )
            for block in call.content
            if block.HasField("tool_use")
        ]
        assert results
        assert call.stop_reason == messages_pb2.STOP_REASON_TOOL_USE
        turns.append(user(*results))
        answer = yield turns
        turns.append(turn(answer))
        assert answer.stop_reason == messages_pb2.STOP_REASON_END_TURN
        answers += [call, answer]
    return answers


def assert_each_thinks_with_a_signature(answers: list[messages_pb2.AssistantMessage]) -> None:
    assert len(answers) == 10
    for answer in answers:
        assert answer.content[0].thinking.thinking
        assert answer.content[0].thinking.signature


async def test_ten_streamed_turns_with_thinking_and_tools_go_back_as_they_came(gateway_process: Any) -> None:
    conversation = converse()
    turns = next(conversation)
    async with AsyncClient(gateway_process.target) as client:
        while True:
            async with client.stream(**OPTIONS, tools=[LOOK_UP], messages=turns) as stream:
                message = await stream.final_message()
            try:
                turns = conversation.send(message)
            except StopIteration as done:
                return assert_each_thinks_with_a_signature(done.value)


def test_ten_created_turns_with_thinking_and_tools_go_back_as_they_came(gateway_process: Any) -> None:
    conversation = converse()
    turns = next(conversation)
    with Client(gateway_process.target) as client:
        while True:
            message = client.create(**OPTIONS, tools=[LOOK_UP], messages=turns)
            try:
                turns = conversation.send(message)
            except StopIteration as done:
                return assert_each_thinks_with_a_signature(done.value)


def test_a_thinking_block_that_was_changed_is_refused(gateway_process: Any) -> None:
    with Client(gateway_process.target) as client:
        answer = client.create(**OPTIONS, messages=[user("Hi")])
        answer.content[0].thinking.thinking += " I have changed my mind."
        with pytest.raises(InvalidRequestError) as caught:
            client.create(**OPTIONS, messages=[user("Hi"), answer, user("And now?")])
    assert caught.value.http_status == 400
    assert caught.value.error_type == "invalid_request_error"
    assert caught.value.request_id


async def test_thinking_and_text_stream_before_the_final_message(gateway_process: Any) -> None:
    async with AsyncClient(gateway_process.target) as client:
        async with client.stream(**OPTIONS, messages=[user("What is the tide?")]) as stream:
            events = [event async for event in stream]
        message = await stream.final_message()
    assert (events[0].type, events[-1].type) == ("message_start", "message_stop")
    assert "".join(map(thinking_of, events)) == message.content[0].thinking.thinking != ""
    assert "".join(map(text_of, events)) == message.content[1].text.text != ""
    assert stream.request_id


def test_a_stream_that_is_left_early_leaves_the_gateway_well(gateway_process: Any) -> None:
    with Client(gateway_process.target) as client:
        with client.stream(**OPTIONS, messages=[user("What is the tide?")]) as stream:
            next(stream)
        assert client.count_tokens(model=ask.DEFAULT_MODEL, messages=[user("Hi")]).input_tokens > 0
        assert client.server_info().simulated


def test_all_that_is_wrong_with_a_request_is_named(gateway_process: Any) -> None:
    with Client(gateway_process.target) as client, pytest.raises(InvalidRequestError) as caught:
        client.create(max_tokens=5)
    assert {field for field, _ in caught.value.violations} == {"params.model", "params.messages"}
