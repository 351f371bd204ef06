"""What upstream sends reaches the caller whole, and goes back as it came."""

from __future__ import annotations

import asyncio
import json
import re

import grpc
import pytest

from claude_grpc.simulator import SimulatorOptions
from claude_grpc.v1.content_pb2 import ContentBlock, TextBlock, ToolResultBlock
from claude_grpc.v1.messages_pb2 import (
    ROLE_ASSISTANT,
    ROLE_USER,
    STOP_REASON_UNSPECIFIED,
    InputMessage,
    ThinkingConfig,
    ThinkingEnabled,
)
from claude_grpc.v1.tools_pb2 import CustomTool, Tool
from support.json_values import parse
from support.stack import Stack, create, drain, open_stack, params, stream

ODD = '{"z" : 1.0 , "a":12345678901234567890, "e":"\\u00e9", "f": [ 1e3, null ] }'


async def test_unknown_blocks_deltas_events_and_reasons_reach_the_caller(stack: Stack) -> None:
    text = "[[unknown-block]][[unknown-delta]][[unknown-event]][[unknown-stop-reason]][[extra-field]] hi"
    ended = await drain(stack.messages.StreamMessage(stream(text, final=True)))
    assert ended.code is grpc.StatusCode.OK
    assert "future_event" in ended.types
    starts = [e.content_block_start.content_block for e in ended.events if e.type == "content_block_start"]
    assert any(block.WhichOneof("block") == "opaque_json" for block in starts)
    deltas = [e.content_block_delta.delta for e in ended.events if e.type == "content_block_delta"]
    assert any(delta.WhichOneof("delta") == "opaque_json" and delta.type for delta in deltas)
    change = next(e.message_delta.delta for e in ended.events if e.type == "message_delta")
    assert change.stop_reason == STOP_REASON_UNSPECIFIED
    assert change.stop_reason_raw
    final = ended.events[-1].message_stop.message
    assert final.stop_reason_raw == change.stop_reason_raw
    assert "future_field" in final.extra_json
    assert "future_field" in final.usage.extra_json


async def test_what_the_simulator_wrote_and_what_the_caller_gets_are_equal(stack: Stack) -> None:
    """The bytes of the answer, taken from the wire, against the message."""
    from claude_grpc.codec import Encoder, Violations
    from claude_grpc.upstream import Endpoint, UpstreamClient, UpstreamRequest, make_transport

    text = "[[unknown-block]][[unknown-stop-reason]][[extra-field]] hi"
    answer = (await stack.messages.CreateMessage(create(text))).message
    body = stack.simulator.requests[-1].body
    client = UpstreamClient(make_transport("aiohttp"), Endpoint(stack.simulator.base_url, api_key="k"))
    try:
        direct = await client.send(UpstreamRequest(method="POST", path="/v1/messages", body=body))
    finally:
        await client.aclose()
    assert parse(Encoder(answer.DESCRIPTOR).encode(answer, Violations())) == parse(direct.body)


async def test_an_assistant_turn_goes_back_as_it_came(stack: Stack) -> None:
    thinking = {"max_tokens": 3000, "thinking": ThinkingConfig(enabled=ThinkingEnabled(budget_tokens=1024))}
    text = "[[unknown-block]][[extra-field]][[redacted-thinking]] hi"
    ended = await drain(stack.messages.StreamMessage(stream(text, final=True, **thinking)))
    turn = ended.events[-1].message_stop.message
    history = [
        InputMessage(role=ROLE_USER, text=text),
        InputMessage(role=ROLE_ASSISTANT, content=turn.content),
        InputMessage(role=ROLE_USER, text="and now?"),
    ]
    ended = await drain(stack.messages.CreateMessage(create(messages=history, **thinking)))
    assert ended.code is grpc.StatusCode.OK, ended.message


async def test_a_changed_signature_is_refused_by_upstream_with_its_path(stack: Stack) -> None:
    thinking = {"max_tokens": 3000, "thinking": ThinkingConfig(enabled=ThinkingEnabled(budget_tokens=1024))}
    turn = (await stack.messages.CreateMessage(create("hi", **thinking))).message
    turn.content[0].thinking.signature += "x"
    history = [InputMessage(role=ROLE_USER, text="hi"), InputMessage(role=ROLE_ASSISTANT, content=turn.content)]
    ended = await drain(stack.messages.CreateMessage(create(messages=[*history, history[0]], **thinking)))
    assert (ended.code, ended.info.domain) == (grpc.StatusCode.INVALID_ARGUMENT, "api.anthropic.com")
    assert "signature" in ended.message
    assert list(ended.violations) == ["messages.1.content.0"]


async def test_tool_input_keeps_its_bytes_on_both_ways() -> None:
    tool = Tool(custom=CustomTool(name="t", input_schema_json='{"type": "object" , "properties":{}}'))
    ask = f"use the tool [[tool-input {ODD}]]"
    async with open_stack() as stack:
        created = (await stack.messages.CreateMessage(create(ask, tools=[tool]))).message
        ended = await drain(stack.messages.StreamMessage(stream(ask, final=True, tools=[tool])))
        streamed = ended.events[-1].message_stop.message
        for message in (created, streamed):
            use = message.content[-1].tool_use
            assert use.input_json == ODD
            result = ContentBlock(tool_result=ToolResultBlock(tool_use_id=use.id, text="42"))
            history = [
                InputMessage(role=ROLE_USER, text=ask),
                InputMessage(role=ROLE_ASSISTANT, content=message.content),
                InputMessage(role=ROLE_USER, content=[result]),
            ]
            await stack.messages.CreateMessage(create(messages=history, tools=[tool]))
            body = stack.simulator.requests[-1].body.decode()
            assert f'"input":{ODD}' in body
            assert '"input_schema":{"type": "object" , "properties":{}}' in body


async def test_an_extra_parameter_reaches_upstream_as_it_was_written() -> None:
    async with open_stack(SimulatorOptions(extra_parameters=frozenset({"future"}))) as stack:
        await stack.messages.CreateMessage(create(extra_json=f'{{"future": {ODD}}}'))
        assert f'"future": {ODD}' in stack.simulator.requests[-1].body.decode()


async def test_a_parameter_that_upstream_does_not_know_is_refused_and_not_dropped(stack: Stack) -> None:
    ended = await drain(stack.messages.CreateMessage(create(extra_json='{"future": 1}')))
    assert ended.code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(ended.violations) == ["future"]


async def test_cache_marks_in_are_cache_marks_out(stack: Stack) -> None:
    request = create()
    request.params.messages[0].ClearField("text")
    for number in range(3):
        block = ContentBlock(text=TextBlock(text=f"part {number}"))
        block.text.cache_control.ttl = "1h"
        request.params.messages[0].content.append(block)
    request.params.cache_control.SetInParent()
    await stack.messages.CreateMessage(request)
    body = stack.simulator.requests[-1].body
    assert len(re.findall(rb'"cache_control":', body)) == 4
    assert json.loads(body)["cache_control"] == {"type": "ephemeral"}


@pytest.mark.timeout(300)
async def test_the_same_request_gives_the_same_bytes_in_a_hundred_processes() -> None:
    """Hash seeds differ from process to process; the bytes must not."""
    program = (
        "import sys; from claude_grpc.codec import Encoder, Violations;"
        "from claude_grpc.v1.messages_pb2 import MessageParams;"
        "p = MessageParams.FromString(bytes.fromhex(sys.argv[1]));"
        "sys.stdout.buffer.write(Encoder(p.DESCRIPTOR).encode(p, Violations()))"
    )
    request = params(extra_json=f'{{"b":{ODD},"a":1}}', stop_sequences=["x", "y"], temperature=0.1, system_text="s")
    at_once = asyncio.Semaphore(4)

    async def encode() -> bytes:
        import sys

        async with at_once:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", program, request.SerializeToString().hex(), stdout=asyncio.subprocess.PIPE
            )
            output, _ = await process.communicate()
            assert process.returncode == 0
            return output

    bodies = await asyncio.gather(*(encode() for _ in range(100)))
    assert len(set(bodies)) == 1
    assert len(bodies[0]) > 100
