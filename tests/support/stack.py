"""The whole way in one process: real stubs, a real gateway on a free port, an upstream behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from claude_grpc.config import Settings
from claude_grpc.gateway import Gateway
from claude_grpc.server import open_gateway
from claude_grpc.simulator import Simulator, SimulatorOptions
from claude_grpc.v1.batches_pb2_grpc import BatchesServiceStub
from claude_grpc.v1.content_pb2 import ContentBlock
from claude_grpc.v1.files_pb2_grpc import FilesServiceStub
from claude_grpc.v1.gateway_pb2_grpc import GatewayServiceStub
from claude_grpc.v1.messages_pb2 import (
    ROLE_USER,
    CreateMessageRequest,
    InputMessage,
    MessageParams,
    StreamMessageRequest,
    StreamMessageResponse,
)
from claude_grpc.v1.messages_pb2_grpc import MessagesServiceStub
from claude_grpc.v1.models_pb2_grpc import ModelsServiceStub
from claude_grpc.v1.skills_pb2_grpc import SkillsServiceStub
from support.canary import CANARY_KEY, CANARY_PROMPT, CANARY_TOKEN, look_through, with_canary_metadata

_STUBS: tuple[Any, ...] = (
    MessagesServiceStub,
    BatchesServiceStub,
    FilesServiceStub,
    ModelsServiceStub,
    SkillsServiceStub,
    GatewayServiceStub,
)


@dataclass(frozen=True)
class Stack:
    """A gateway in front of a simulator, and the stubs to call it."""

    simulator: Simulator
    gateway: Gateway
    channel: grpc.aio.Channel
    messages: Any
    batches: Any
    files: Any
    models: Any
    skills: Any
    server: Any


@asynccontextmanager
async def open_stack(options: SimulatorOptions | None = None, **settings: Any) -> AsyncIterator[Stack]:
    """A stack with these settings over those that suit a test."""
    async with Simulator(options) as simulator, gateway_before(simulator.base_url, **settings) as (gateway, channel):
        yield Stack(simulator, gateway, channel, *(stub(channel) for stub in _STUBS))
        # Whatever a test is about: what callers send beside their requests goes no further.
        sent = [(exchange.path, exchange.headers) for exchange in simulator.requests]
        look_through("what went upstream", sent, canaries=[CANARY_TOKEN])


def over(stack: Stack, channel: grpc.aio.Channel) -> Stack:
    """The same, called over another channel."""
    with_canary_metadata(channel)
    return Stack(stack.simulator, stack.gateway, channel, *(stub(channel) for stub in _STUBS))


@asynccontextmanager
async def gateway_before(base_url: str, **settings: Any) -> AsyncIterator[tuple[Gateway, grpc.aio.Channel]]:
    """A gateway in front of any upstream, and a channel to it."""
    chosen: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "ANTHROPIC_API_KEY": CANARY_KEY,
        "ANTHROPIC_BASE_URL": base_url,
        "simulator": "never",
        "max_retries": 0,
        # Many a test makes one model fail again and again.
        "breaker_failures": 0,
        **settings,
    }
    async with (
        open_gateway(Settings(**chosen)) as gateway,
        grpc.aio.insecure_channel(gateway.target, options=[("grpc.max_send_message_length", -1)]) as channel,
    ):
        yield gateway, with_canary_metadata(channel)


def params(text: str = CANARY_PROMPT, **fields: Any) -> MessageParams:
    """A small valid request."""
    chosen: dict[str, Any] = {
        "model": "claude-opus-5-5",
        "max_tokens": 1000,
        "messages": [InputMessage(role=ROLE_USER, text=text)],
        **fields,
    }
    return MessageParams(**chosen)


def create(text: str = CANARY_PROMPT, **fields: Any) -> CreateMessageRequest:
    """A small valid request of CreateMessage."""
    return CreateMessageRequest(params=params(text, **fields))


def stream(text: str = CANARY_PROMPT, *, final: bool = False, **fields: Any) -> StreamMessageRequest:
    """A small valid request of StreamMessage."""
    request = StreamMessageRequest(params=params(text, **fields))
    request.stream_options.include_final_message = final
    return request


@dataclass(frozen=True)
class Ended:
    """How a stream went: its events, and its status with the details taken apart."""

    events: list[StreamMessageResponse]
    code: grpc.StatusCode
    message: str
    trailers: dict[str, str]
    info: error_details_pb2.ErrorInfo
    violations: dict[str, str]
    retry_seconds: float | None

    @property
    def types(self) -> list[str]:
        """The events' types, in order."""
        return [event.type for event in self.events]


async def drain(call: Any) -> Ended:
    """Read a call, unary or streamed, to whatever end it comes."""
    events: list[Any] = []
    try:
        if hasattr(call, "__aiter__"):
            async for event in call:
                events.append(event)  # noqa: PERF401 # what came before an error counts
        else:
            events.append(await call)
    except grpc.aio.AioRpcError:
        pass  # the status tells
    trailers = dict(await call.trailing_metadata())
    # Whatever a test is about: the gateway's key is nobody's business, and an error quotes no prompt and no header.
    look_through("what a caller got", dict(await call.initial_metadata()), trailers, await call.details())
    status = status_pb2.Status.FromString(trailers.pop("grpc-status-details-bin", b""))
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    found = {detail.type_url for detail in status.details if any(detail.Unpack(d) for d in (info, bad, retry))}
    return Ended(
        events=events,
        code=await call.code(),
        message=await call.details() or "",
        trailers=trailers,
        info=info,
        violations={violation.field: violation.description for violation in bad.field_violations},
        retry_seconds=retry.retry_delay.ToMicroseconds() / 1e6 if any("RetryInfo" in url for url in found) else None,
    )


def texts(content: list[ContentBlock]) -> str:
    """The text of all text blocks."""
    return "".join(block.text.text for block in content)
