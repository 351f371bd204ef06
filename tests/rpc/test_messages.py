"""Messages through a real gateway: created, streamed and counted."""

from __future__ import annotations

import re
from typing import Any

import grpc
import pytest

from claude_grpc.v1.content_pb2 import ContentBlock, TextBlock
from claude_grpc.v1.gateway_pb2 import GetServerInfoRequest
from claude_grpc.v1.messages_pb2 import (
    ROLE_ASSISTANT,
    STOP_REASON_END_TURN,
    STOP_REASON_TOOL_USE,
    CountTokensRequest,
    CreateMessageRequest,
    ThinkingConfig,
    ThinkingEnabled,
)
from claude_grpc.v1.tools_pb2 import CustomTool, Tool
from support.stack import CANARY_KEY, Stack, create, drain, open_stack, params, stream, texts

THINKING = ThinkingConfig(enabled=ThinkingEnabled(budget_tokens=1024))
TOOL = Tool(
    custom=CustomTool(
        name="get_weather",
        input_schema_json='{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}',
    )
)


async def test_a_message_is_created(stack: Stack) -> None:
    ended = await drain(stack.messages.CreateMessage(create()))
    assert ended.code is grpc.StatusCode.OK
    message = ended.events[0].message
    assert (message.type, message.role, message.stop_reason) == ("message", ROLE_ASSISTANT, STOP_REASON_END_TURN)
    assert "Why is the sky blue?" in texts(message.content)
    assert message.usage.output_tokens > 0


async def test_a_stream_has_its_events_in_order_and_ends_ok(stack: Stack) -> None:
    ended = await drain(stack.messages.StreamMessage(stream(max_tokens=3000, thinking=THINKING)))
    assert ended.code is grpc.StatusCode.OK
    types = ended.types
    assert types[0] == "message_start"
    assert types[-2:] == ["message_delta", "message_stop"]
    assert types.count("content_block_start") == types.count("content_block_stop") == 2
    deltas = [e.content_block_delta.delta.WhichOneof("delta") for e in ended.events if e.type == "content_block_delta"]
    assert deltas.index("signature_delta") < deltas.index("text_delta")
    assert {"thinking_delta", "text_delta", "signature_delta"} == set(deltas)


async def test_the_final_message_is_what_would_have_been_created(stack: Stack) -> None:
    fields = {"max_tokens": 3000, "thinking": THINKING, "tools": [TOOL]}
    question = "Please use the tool. [[redacted-thinking]]"
    ended = await drain(stack.messages.StreamMessage(stream(question, final=True, **fields)))
    created = await stack.messages.CreateMessage(create(question, **fields))
    final = ended.events[-1].message_stop.message
    assert final.stop_reason == STOP_REASON_TOOL_USE
    assert [block.type for block in final.content] == [block.type for block in created.message.content]
    assert list(final.content) == list(created.message.content)
    assert final.usage == created.message.usage


async def test_without_asking_the_final_message_is_not_sent(stack: Stack) -> None:
    ended = await drain(stack.messages.StreamMessage(stream()))
    assert not ended.events[-1].message_stop.HasField("message")


async def test_tokens_are_counted(stack: Stack) -> None:
    few = await stack.messages.CountTokens(CountTokensRequest(params=params("hi", temperature=0.5)))
    many = await stack.messages.CountTokens(CountTokensRequest(params=params("hi " * 100)))
    assert 0 < few.input_tokens < many.input_tokens
    assert "temperature" not in stack.simulator.requests[0].body.decode()


async def test_trailers_tell_of_the_exchange_on_success(stack: Stack) -> None:
    for call in (stack.messages.CreateMessage(create()), stack.messages.StreamMessage(stream())):
        trailers = (await drain(call)).trailers
        assert trailers["request-id"].startswith("req_")
        assert trailers["claude-grpc-attempts"] == "1"
        assert int(trailers["anthropic-ratelimit-requests-remaining"]) >= 0


async def test_the_key_and_the_requests_own_headers_reach_upstream(stack: Stack) -> None:
    request = CreateMessageRequest(
        params=params(temperature=0.5),
        betas=["context-1m-2025-08-07", "context-management-2025-06-27"],
        anthropic_version="2023-06-01",
        workspace_id="wrkspc_1",
        user_profile_id="uprof_1",
    )
    await stack.messages.CreateMessage(request, metadata=[("x-api-key", "callers-own"), ("x-private", "secret")])
    headers = stack.simulator.requests[-1].headers
    assert headers["x-api-key"] == CANARY_KEY
    assert headers["anthropic-beta"] == "context-1m-2025-08-07,context-management-2025-06-27"
    assert headers["anthropic-version"] == "2023-06-01"
    assert headers["anthropic-workspace-id"] == "wrkspc_1"
    assert headers["anthropic-user-profile-id"] == "uprof_1"
    assert "x-private" not in headers
    assert headers["user-agent"].startswith("claude-grpc/")


async def test_the_default_version_is_a_setting() -> None:
    async with open_stack(anthropic_version="2023-06-01") as stack:
        await stack.messages.CreateMessage(create(temperature=0.5))
        assert stack.simulator.requests[-1].headers["anthropic-version"] == "2023-06-01"


async def test_a_token_goes_as_bearer_instead_of_the_key() -> None:
    async with open_stack(ANTHROPIC_API_KEY=None, ANTHROPIC_AUTH_TOKEN="canary-token") as stack:
        await stack.messages.CreateMessage(create())
        headers = stack.simulator.requests[-1].headers
        assert headers["authorization"] == "Bearer canary-token"
        assert "x-api-key" not in headers


@pytest.mark.parametrize("engine", ["aiohttp", "httpx"])
async def test_both_engines_stream_and_reuse_their_connection(engine: str) -> None:
    async with open_stack(engine=engine) as stack:
        for _ in range(3):
            assert (await drain(stack.messages.StreamMessage(stream()))).code is grpc.StatusCode.OK
        assert stack.simulator.open_connections == 1


async def test_the_server_tells_of_itself(stack: Stack) -> None:
    info = await stack.server.GetServerInfo(GetServerInfoRequest())
    assert info.version
    assert info.schema_revision >= 1
    assert info.anthropic_version == "2026-10-21"
    assert info.upstream_host == stack.simulator.base_url.removeprefix("http://")
    assert not info.simulated
    assert info.limits.max_body_bytes == 32_000_000


async def test_one_wrong_block_does_not_reach_upstream(stack: Stack) -> None:
    request = create()
    request.params.messages[0].ClearField("text")
    request.params.messages[0].content.append(ContentBlock(type="image", text=TextBlock(text="x")))
    assert (await drain(stack.messages.CreateMessage(request))).code is grpc.StatusCode.INVALID_ARGUMENT
    assert not stack.simulator.requests


@pytest.mark.parametrize("part", ["", "params", "call_options", "stream_options", "params.messages[0].content[0]"])
async def test_a_field_of_a_newer_caller_is_refused_wherever_it_stands(stack: Stack, part: str) -> None:
    request = stream()
    request.params.messages[0].ClearField("text")
    request.params.messages[0].content.add().text.text = "Hi"
    place: Any = request
    for step in re.findall(r"[a-z_]+|[0-9]+", part):
        place = place[int(step)] if step.isdecimal() else getattr(place, step)
    place.MergeFromString(b"\xfa\x06\x01x")  # field 111, a string
    ended = await drain(stack.messages.StreamMessage(request))
    assert ended.code is grpc.StatusCode.INVALID_ARGUMENT
    assert ended.violations.keys() == {f"{part}.#111".removeprefix(".")}


@pytest.mark.parametrize("value", ["true", "false"])
@pytest.mark.parametrize("kind", ["stream", "create"])
async def test_whether_to_stream_is_the_methods_to_say(stack: Stack, kind: str, value: str) -> None:
    extra = f'{{"stream":{value}}}'
    if kind == "stream":
        ended = await drain(stack.messages.StreamMessage(stream(extra_json=extra)))
    else:
        ended = await drain(stack.messages.CreateMessage(create(extra_json=extra)))
    assert ended.code is grpc.StatusCode.INVALID_ARGUMENT
    assert ended.violations == {"params.extra_json": "Holds `stream`, which is set without it; leave it out."}
    assert not stack.simulator.requests
