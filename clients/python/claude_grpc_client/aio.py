"""The client for asyncio. It does the I/O of calls and nothing else; ``sync`` is its blocking twin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from grpc import aio

from claude_grpc.v1 import gateway_pb2_grpc, messages_pb2_grpc
from claude_grpc.v1.gateway_pb2 import GetServerInfoRequest, GetServerInfoResponse
from claude_grpc.v1.messages_pb2 import (
    AssistantMessage,
    CountTokensRequest,
    CountTokensResponse,
    CreateMessageRequest,
    MessageParams,
    StreamMessageRequest,
    StreamMessageResponse,
)
from claude_grpc_client.channel import DEFAULT_TARGET, DEFAULT_TIMEOUT, open_async_channel
from claude_grpc_client.errors import CallCancelledError, from_rpc_error
from claude_grpc_client.events import StreamState, text_of
from claude_grpc_client.messages import build_request, build_stream_request
from claude_grpc_client.timing import Timing

__all__ = ["AsyncClient", "AsyncMessageStream"]

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class AsyncClient:
    """A gateway, as seen from an event loop.

    ``create``, ``stream`` and ``count_tokens`` take a ready MessageParams, or its fields as keyword arguments, where
    ``messages`` may have turns in any form of ``Turn``. The request's own fields, such as ``betas``, are keyword
    arguments in both cases. ``timeout`` is the call's deadline in seconds, if not the client's; ``call_metadata`` are
    gRPC headers. Whatever ends a call otherwise than well is raised as a ``ClaudeError``.

    Args:
        target: Where the gateway listens, ``host:port`` or any other gRPC target.
        credentials: For TLS; None is plain text.
        channel: A ready channel, used in place of ``target`` and ``credentials`` and never closed.
        timeout: Deadline of a call in seconds; None for the service config's.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        channel: aio.Channel | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> None:
        self._target = target
        self._credentials = credentials
        self._given_channel = channel
        self._timeout = timeout

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls that still run are cancelled."""
        if self._given_channel is None:
            await self._channel.close()

    async def create(
        self,
        params: MessageParams | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - a gRPC deadline, which the gateway is told of
        call_metadata: Iterable[tuple[str, str | bytes]] = (),
        **fields: Any,
    ) -> AssistantMessage:
        """Return Claude's next turn, whole."""
        request = build_request(CreateMessageRequest, params, fields)
        response = await self._call(self._messages.CreateMessage, request, timeout, call_metadata)
        return response.message

    @asynccontextmanager
    async def stream(
        self,
        params: MessageParams | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - a gRPC deadline, which the gateway is told of
        call_metadata: Iterable[tuple[str, str | bytes]] = (),
        **fields: Any,
    ) -> AsyncIterator[AsyncMessageStream]:
        """Stream Claude's next turn; leaving the context before its end cancels it."""
        call = self._messages.StreamMessage(
            build_stream_request(params, fields),
            timeout=self._timeout if timeout is None else timeout,
            metadata=tuple(call_metadata),
        )
        try:
            yield AsyncMessageStream(call)
        finally:
            # grpc.aio does not do this when iteration is left, nor when the call is collected.
            call.cancel()

    async def count_tokens(
        self,
        params: MessageParams | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - a gRPC deadline, which the gateway is told of
        call_metadata: Iterable[tuple[str, str | bytes]] = (),
        **fields: Any,
    ) -> CountTokensResponse:
        """Return how many input tokens a request would have."""
        request = build_request(CountTokensRequest, params, fields)
        return await self._call(self._messages.CountTokens, request, timeout, call_metadata)

    async def server_info(self) -> GetServerInfoResponse:
        """Return the gateway's version, limits and what is switched on."""
        return await self._call(self._gateway.GetServerInfo, GetServerInfoRequest(), None, ())

    @cached_property
    def _channel(self) -> aio.Channel:
        # Made at first use: a grpc.aio channel belongs to the loop it is made in, a client may be older than that.
        return self._given_channel or open_async_channel(self._target, self._credentials)

    @cached_property
    def _messages(self) -> messages_pb2_grpc.MessagesServiceAsyncStub:
        return messages_pb2_grpc.MessagesServiceStub(self._channel)

    @cached_property
    def _gateway(self) -> gateway_pb2_grpc.GatewayServiceAsyncStub:
        return gateway_pb2_grpc.GatewayServiceStub(self._channel)

    async def _call(
        self,
        method: aio.UnaryUnaryMultiCallable[_Request, _Response],
        request: _Request,
        timeout: float | None,  # noqa: ASYNC109 - a gRPC deadline, which the gateway is told of
        call_metadata: Iterable[tuple[str, str | bytes]],
    ) -> _Response:
        timeout = self._timeout if timeout is None else timeout
        call = method(request, timeout=timeout, metadata=tuple(call_metadata))
        try:
            return await call
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        except asyncio.CancelledError:
            if _is_own_task_cancelled(call):
                raise
            raise _closed() from None


class AsyncMessageStream:
    """The events of one answer, in order, until it is whole or an error is raised."""

    def __init__(self, call: aio.UnaryStreamCall[StreamMessageRequest, StreamMessageResponse]) -> None:
        self._call = call
        self._events = aiter(call)
        self._state = StreamState()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamMessageResponse:
        try:
            return self._state.take(await anext(self._events))
        except StopAsyncIteration:
            self._state.end(await self._call.trailing_metadata())
            raise
        except grpc.RpcError as error:
            raise self._state.fail(from_rpc_error(error, partial=self._state.has_begun)) from error
        except asyncio.CancelledError:
            if _is_own_task_cancelled(self._call):
                raise
            raise self._state.fail(_closed()) from None

    @property
    def text_stream(self) -> AsyncIterator[str]:
        """The answer's text, piece by piece; other events are passed over."""
        return self._texts()

    async def final_message(self) -> AssistantMessage:
        """Return the whole message, after all events that are left."""
        async for _ in self:
            pass
        return self._state.final_message()

    @property
    def request_id(self) -> str:
        """The Claude API's id of the request; empty until the stream has ended."""
        return self._state.request_id

    @property
    def trailers(self) -> Mapping[str, str]:
        """The response's trailers, such as ``anthropic-ratelimit-*``; empty until the stream has ended."""
        return self._state.trailers

    @property
    def timing(self) -> Timing | None:
        """How the gateway spent the call's time; None until the stream has ended, or if it was not told."""
        return self._state.timing

    async def _texts(self) -> AsyncIterator[str]:
        async for event in self:
            if text := text_of(event):
                yield text


def _is_own_task_cancelled(call: aio.Call) -> bool:
    # When the stream or the client is closed, grpc.aio raises CancelledError in whoever reads, although nobody has
    # cancelled that task; it would end without a trace.
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0 or not call.cancelled()


def _closed() -> CallCancelledError:
    return CallCancelledError("The stream or the client was closed.", code=grpc.StatusCode.CANCELLED)
