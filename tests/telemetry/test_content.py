"""Prompts and answers: nowhere unless asked for, then up to a size; keys nowhere ever."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest

from claude_grpc.telemetry.content import ContentCapture
from claude_grpc.telemetry.logs import configure_logging
from claude_grpc.v1 import content_pb2, media_pb2
from claude_grpc.v1.messages_pb2 import ROLE_ASSISTANT, ROLE_USER, AssistantMessage, InputMessage, MessageParams
from support.otlp import Collector
from support.stack import CANARY_KEY, create, drain, open_stack, stream

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
PROMPT = "canary-prompt-of-a-caller"
Block = content_pb2.ContentBlock


def texts_of(collector: Collector) -> str:
    return " ".join(str(body) for body in collector.raw)


@pytest.fixture
def log() -> Any:
    import logging

    stream = StringIO()
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    configure_logging("debug", "json", stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


@pytest.mark.parametrize("faults", [["", ""], ["error 400 type=invalid_request_error", "error-event at=3"]])
async def test_by_default_nothing_of_a_conversation_is_told(
    collector: Collector, log: StringIO, faults: list[str]
) -> None:
    async with open_stack(log_level="debug") as stack:
        for request, fault in zip((create, stream), faults, strict=True):
            asked = request(f"{PROMPT} one", system_text=f"{PROMPT} two")
            asked.params.metadata.user_id = f"{PROMPT}-user"
            stack.simulator.script(fault)
            method = stack.messages.CreateMessage if request is create else stack.messages.StreamMessage
            ended = await drain(method(asked, metadata=(("x-secret", f"{PROMPT}-metadata"),)))
            answer = str(ended.events)
    assert PROMPT not in texts_of(collector) + log.getvalue()
    assert CANARY_KEY not in texts_of(collector) + log.getvalue()
    # The simulator's answers quote what was asked; had they been told, this would find it.
    assert collector.spans
    assert answer is not None


async def test_content_is_told_when_asked_for_and_keys_are_not(collector: Collector, export_to: Any) -> None:
    export_to(collector.grpc_url, **{CAPTURE: "true"})
    async with open_stack() as stack:
        created = await drain(stack.messages.CreateMessage(create(PROMPT, system_text="Be brief.")))
        streamed = await drain(stack.messages.StreamMessage(stream(PROMPT, final=True)))
    calls = collector.named("chat claude-opus-5-5")
    answers = [created.events[0].message, streamed.events[-1].message_stop.message]
    for call, answer in zip(calls, answers, strict=True):
        [asked] = json.loads(call.attributes["gen_ai.input.messages"])
        assert asked == {"role": "user", "parts": [{"type": "text", "content": PROMPT}]}
        [turn] = json.loads(call.attributes["gen_ai.output.messages"])
        assert turn["parts"] == [{"type": "text", "content": block.text.text} for block in answer.content]
        assert turn["finish_reason"] == "end_turn"
    assert json.loads(calls[0].attributes["gen_ai.system_instructions"]) == [{"type": "text", "content": "Be brief."}]
    assert CANARY_KEY not in texts_of(collector)


async def test_an_answer_that_was_cut_is_told_as_far_as_it_came(collector: Collector, export_to: Any) -> None:
    export_to(collector.grpc_url, **{CAPTURE: "span_only"})
    async with open_stack() as stack:
        stack.simulator.script("cut at=5")
        await drain(stack.messages.StreamMessage(stream(PROMPT)))
    [call] = collector.named("chat claude-opus-5-5")
    [turn] = json.loads(call.attributes["gen_ai.output.messages"])
    assert turn["parts"][0]["content"]


def test_every_kind_of_block_has_its_part() -> None:
    blocks = [
        Block(text=content_pb2.TextBlock(text="a")),
        Block(thinking=content_pb2.ThinkingBlock(thinking="b", signature="secret-signature")),
        Block(tool_use=content_pb2.ToolUseBlock(id="t1", name="look", input_json='{"x":1}')),
        Block(tool_result=content_pb2.ToolResultBlock(tool_use_id="t1", text="found")),
        Block(type="image", image=media_pb2.ImageBlock()),
        Block(type="future", opaque_json='{"type":"future","secret":1}'),
    ]
    params = MessageParams(
        messages=[InputMessage(role=ROLE_ASSISTANT, content=blocks), InputMessage(role=ROLE_USER, text="z")]
    )
    told = ContentCapture(1000).of_request(params)
    assert json.loads(str(told["gen_ai.input.messages"])) == [
        {
            "role": "assistant",
            "parts": [
                {"type": "text", "content": "a"},
                {"type": "reasoning", "content": "b"},
                {"type": "tool_call", "id": "t1", "name": "look", "arguments": '{"x":1}'},
                {"type": "tool_call_response", "id": "t1", "response": [{"type": "text", "content": "found"}]},
                {"type": "image"},
                {"type": "future"},
            ],
        },
        {"role": "user", "parts": [{"type": "text", "content": "z"}]},
    ]


@pytest.mark.parametrize("size", [0, 1, 10, 99, 100, 101, 5000])
def test_content_is_cut_at_its_size_and_stays_json(size: int) -> None:
    blocks = [Block(text=content_pb2.TextBlock(text="é" * 50)) for _ in range(1000)]
    told = str(ContentCapture(size).of_answer(AssistantMessage(content=blocks))["gen_ai.output.messages"])
    [turn] = json.loads(told)
    kept = "".join(part.get("content", "") for part in turn["parts"])
    assert turn["parts"][-1] == {"type": "truncated"}
    assert len(told.encode()) < size + 150
    assert len(kept.encode()) > size * 0.7 - 45


LONG = "é" * 1_000_000
HOSTILE = {
    "empty blocks": [Block(text=content_pb2.TextBlock())] * 100_000,
    "types": [Block(type=LONG, opaque_json="{}")] * 3,
    "names": [Block(tool_use=content_pb2.ToolUseBlock(id=LONG, name=LONG, input_json=LONG))] * 3,
    "results": [
        Block(
            tool_result=content_pb2.ToolResultBlock(tool_use_id=LONG, text=LONG, content=[Block(text={"text": LONG})])
        )
    ]
    * 20,
}


@pytest.mark.parametrize("shape", [*HOSTILE, "turns"])
def test_no_shape_of_a_conversation_makes_more_than_the_size(shape: str) -> None:
    if shape == "turns":
        params = MessageParams(messages=[InputMessage(role=ROLE_USER)] * 100_000)
    else:
        params = MessageParams(messages=[InputMessage(role=ROLE_USER, content=HOSTILE[shape])])
    told = str(ContentCapture(2000).of_request(params)["gen_ai.input.messages"])
    assert json.loads(told)
    assert len(told.encode()) < 2500
