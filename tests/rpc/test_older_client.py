"""A client whose stubs are older than the gateway: every kind of answer reaches it, and goes back as it came.

``golden/contracts/first.binpb`` is the first contract that had a streamed answer, before most blocks were typed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from claude_grpc.simulator.block_kinds import BLOCK_KINDS
from claude_grpc.simulator.message_facts import FACTS
from support.stack import Stack, drain

CONTRACT = Path(__file__).parents[1] / "golden" / "contracts" / "first.binpb"
BETAS = ["advisor-tool-2026-03-01", "compact-2026-01-12", "mcp-client-2026-09-15", "server-side-fallback-2026-07-01"]
SERVICE = "/claude_grpc.v1.MessagesService"


class Older:
    """The older contract's messages, by their names."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.DescriptorPool()
        for file in FileDescriptorSet.FromString(CONTRACT.read_bytes()).file:
            self._pool.Add(file)  # type: ignore[no-untyped-call]

    def __getattr__(self, name: str) -> Any:
        return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(f"claude_grpc.v1.{name}"))

    def stream(self, stack: Stack, request: Any) -> Any:
        return stack.channel.unary_stream(
            f"{SERVICE}/StreamMessage",
            request_serializer=self.StreamMessageRequest.SerializeToString,
            response_deserializer=self.StreamMessageResponse.FromString,
        )(request)

    def create(self, stack: Stack, request: Any) -> Any:
        return stack.channel.unary_unary(
            f"{SERVICE}/CreateMessage",
            request_serializer=self.CreateMessageRequest.SerializeToString,
            response_deserializer=self.CreateMessageResponse.FromString,
        )(request)


OLDER = Older()


def params(*messages: Any) -> Any:
    asked = OLDER.MessageParams(model="claude-opus-5-5", max_tokens=3000, messages=messages)
    asked.thinking.adaptive.SetInParent()
    return asked


@pytest.mark.parametrize("name", [*BLOCK_KINDS, *FACTS])
async def test_every_kind_of_answer_reaches_an_older_client_and_goes_back(stack: Stack, name: str) -> None:
    question = OLDER.InputMessage(role=1, text=f"Why? [[answer {name}]]")
    request = OLDER.StreamMessageRequest(params=params(question), betas=BETAS)
    request.stream_options.include_final_message = True
    streamed = await drain(OLDER.stream(stack, request))
    assert streamed.code is grpc.StatusCode.OK, streamed.message
    assert all(event.type for event in streamed.events)
    created = await drain(OLDER.create(stack, OLDER.CreateMessageRequest(params=params(question), betas=BETAS)))
    assert created.code is grpc.StatusCode.OK, created.message
    final = streamed.events[-1].message_stop.message
    assert final.content == created.events[0].message.content
    assert all(block.type for block in final.content)
    turn = OLDER.InputMessage(role=2, content=final.content)
    await OLDER.create(stack, OLDER.CreateMessageRequest(params=params(question, turn, question), betas=BETAS))
    sent = stack.simulator.requests[-1].body
    assert all(f'"type":"{block.type}"'.encode() in sent for block in final.content)
