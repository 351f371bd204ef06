"""One call, as a servicer sees it: who calls, how long is left, what is to be told at the end.

Knows nothing of ``grpc.aio``, so that a servicer can be called straight in a test, and another front can stand beside
ours.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Protocol

from google.protobuf.message import Message

from claude_grpc.errors import UpstreamContext
from claude_grpc.rpc.status import RpcStatus
from claude_grpc.telemetry.calls import CallTelemetry

__all__ = ["Call", "Read", "Share", "snake_case"]

Read = Callable[[], Awaitable[bytes | None]]
"""Brings a request into memory; None if there is none, or no other."""

_HEADER = re.compile(r"[!-~]{1,256}")
_LONGEST = 256
_WORD = re.compile(r"(?<!^)(?=[A-Z])")


class Share(Protocol):
    """A call's share of the memory for requests."""

    async def receive(self, read: Read) -> bytes | None:
        """Read the request, once there is room for it; raise `RefusedError` if there is none."""

    async def receive_next(self, read: Read) -> bytes | None:
        """Read the next of many requests, in place of the one before; raise `RefusedError` if it has no room."""

    def expect_large(self) -> None:
        """Tell that the next of many requests may be large, and so may those after it while it is."""

    def free(self) -> None:
        """Tell that the request is no longer in memory."""


class _Unlimited:
    async def receive(self, read: Read) -> bytes | None:
        return await read()

    async def receive_next(self, read: Read) -> bytes | None:
        return await read()

    def expect_large(self) -> None:
        pass

    def free(self) -> None:
        pass


@dataclass(slots=True)
class Call:
    """One call of an RPC.

    Attributes:
        method: ``claude_grpc.v1.MessagesService/StreamMessage``.
        metadata: What the caller sent, keys in lower case.
        deadline: When the caller stops waiting, in seconds of ``time.monotonic``; None if it never does.
        trailers: Trailing metadata, to be sent however the call ends.
        status: How the call failed; None while it has not.
        started: When it began, in seconds of ``time.monotonic``.
        upstream: What is known of the HTTP exchange behind it.
        request_bytes: Size of the request, as it came.
        share: Its share of the memory for requests.
        keepalive: What a silent stream may send to show that it lives; None while it must not send anything.
        partial: Whether a part of the answer has gone to the caller.
        telemetry: What is told of it to whoever runs the gateway; silent until a layer says otherwise.
    """

    method: str
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    deadline: float | None = None
    trailers: dict[str, str] = field(default_factory=dict)
    status: RpcStatus | None = None
    started: float = field(default_factory=time.monotonic)
    upstream: UpstreamContext = field(default_factory=UpstreamContext)
    request_bytes: int = 0
    share: Share = field(default_factory=_Unlimited)
    keepalive: Message | None = None
    partial: bool = False
    telemetry: CallTelemetry = field(default_factory=CallTelemetry.silent)

    @property
    def operation(self) -> str:
        """The RPC's name as telemetry has it, ``create_message_batch``."""
        return snake_case(self.method.rpartition("/")[2])

    def answered(self, context: UpstreamContext) -> None:
        """Note what came back from upstream, and pass on what callers want to know of it."""
        self.upstream = context
        self.trailers.update(_passed_on(context))


@cache
def snake_case(name: str) -> str:
    """The name of an RPC as Python's methods have theirs."""
    return _WORD.sub("_", name).lower()


def _passed_on(context: UpstreamContext) -> Mapping[str, str]:
    trailers = {key: value for key, value in context.headers.items() if key.startswith("anthropic-ratelimit-")}
    trailers["claude-grpc-attempts"] = str(context.attempts)
    told = {
        "request-id": context.request_id,
        "claude-grpc-retries": ",".join(context.retries)[:_LONGEST],
        # The model is in a caller's words, which need not be a header's.
        "claude-grpc-model": context.model if _HEADER.fullmatch(context.model) else "",
        "claude-grpc-fallback": context.fallback,
    }
    trailers.update((key, value) for key, value in told.items() if value)
    return trailers
