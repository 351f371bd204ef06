"""Requests that are wrong: what is wrong, where, and what would be right."""

from __future__ import annotations

import grpc
import pytest

from claude_grpc.v1.messages_pb2 import CreateMessageRequest, StreamMessageRequest
from support.stack import Stack, create, drain, open_stack, params

INVALID = grpc.StatusCode.INVALID_ARGUMENT


async def test_an_empty_request_is_told_what_it_lacks(stack: Stack) -> None:
    for call in (
        stack.messages.CreateMessage(CreateMessageRequest()),
        stack.messages.StreamMessage(StreamMessageRequest()),
    ):
        ended = await drain(call)
        assert ended.code is INVALID
        assert ended.violations.keys() == {"params.model", "params.max_tokens", "params.messages"}
        assert (ended.info.reason, ended.info.domain) == ("INVALID_REQUEST", "claude-grpc")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("betas", ["ok", "a\r\nx-evil: 1"]),
        ("betas", ["a,b"]),
        ("betas", [""]),
        ("anthropic_version", "2026\n"),
        ("workspace_id", "é"),
        ("user_profile_id", "a b"),
        ("user_profile_id", "x" * 257),
    ],
)
async def test_what_becomes_a_header_is_checked(stack: Stack, field: str, value: object) -> None:
    request = CreateMessageRequest(params=params(), **{field: value})  # type: ignore[arg-type]
    ended = await drain(stack.messages.CreateMessage(request))
    assert ended.code is INVALID
    [path] = ended.violations
    assert path.startswith(field)
    assert not stack.simulator.requests


async def test_wrong_headers_and_wrong_params_are_told_together(stack: Stack) -> None:
    ended = await drain(stack.messages.CreateMessage(CreateMessageRequest(params=params(model=""), betas=["\n"])))
    assert ended.violations.keys() == {"betas[0]", "params.model"}


async def test_a_body_that_is_too_large_is_told_so_with_its_size(stack: Stack) -> None:
    ended = await drain(stack.messages.CreateMessage(create("x" * 33_000_000)))
    assert (ended.code, ended.info.reason) == (INVALID, "REQUEST_TOO_LARGE")
    assert "33000" in ended.violations["params"]
    assert "32000000" in ended.violations["params"]
    assert not stack.simulator.requests


async def test_what_upstream_itself_refuses_as_too_large_has_the_same_status() -> None:
    async with open_stack(max_body_bytes=40_000_000) as stack:
        ended = await drain(stack.messages.CreateMessage(create("x" * 34_000_000)))
        assert (ended.code, ended.info.reason) == (INVALID, "REQUEST_TOO_LARGE")
        assert ended.info.domain == "api.anthropic.com"


async def test_what_upstream_decides_is_upstreams_to_refuse(stack: Stack) -> None:
    ended = await drain(stack.messages.CreateMessage(create(temperature=0.5)))
    assert (ended.code, ended.info.domain) == (INVALID, "api.anthropic.com")
    assert list(ended.violations) == ["temperature"]
    assert ended.trailers["request-id"] == ended.info.metadata["requestId"]
