"""The blocking client. It does the I/O of calls and nothing else; ``aio`` is its twin for asyncio."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import grpc

from claude_grpc.v1 import gateway_pb2_grpc, messages_pb2_grpc
from claude_grpc.v1.gateway_pb2 import GetServerInfoRequest, GetServerInfoResponse
from claude_grpc.v1.messages_pb2 import (
    AssistantMessage,
    CountTokensRequest,
    CountTokensResponse,
    CreateMessageRequest,
    MessageParams,
    StreamMessageResponse,
)
from claude_grpc_client.channel import DEFAULT_TARGET, DEFAULT_TIMEOUT, open_channel
from claude_grpc_client.errors import from_rpc_error
from claude_grpc_client.events import StreamState, text_of
from claude_grpc_client.messages import build_request, build_stream_request
from claude_grpc_client.timing import Timing

__all__ = ["Client", "MessageStream"]

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class Client:
    """A gateway, as seen from a thread; threads may share it.

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
        channel: grpc.Channel | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> None:
        self._owns_channel = channel is None
        self._channel = open_channel(target, credentials) if channel is None else channel
        self._messages = messages_pb2_grpc.MessagesServiceStub(self._channel)
        self._gateway = gateway_pb2_grpc.GatewayServiceStub(self._channel)
        self._timeout = timeout

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls that still run in other threads are cancelled."""
        if self._owns_channel:
            self._channel.close()

    def create(
        self,
        params: MessageParams | None = None,
        *,
        timeout: float | None = None,
        call_metadata: Iterable[tuple[str, str | bytes]] = (),
        **fields: Any,
    ) -> AssistantMessage:
        """Return Claude's next turn, whole."""
        request = build_request(CreateMessageRequest, params, fields)
        return self._call(self._messages.CreateMessage, request, timeout, call_metadata).message

    @contextmanager
    def stream(
        self,
        params: MessageParams | None = None,
        *,
        timeout: float | None = None,
        call_metadata: Iterable[tuple[str, str | bytes]] = (),
        **fields: Any,
    ) -> Iterator[MessageStream]:
        """Stream Claude's next turn; leaving the context before its end cancels it."""
        call = self._messages.StreamMessage(
            build_stream_request(params, fields),
            timeout=self._timeout if timeout is None else timeout,
            metadata=tuple(call_metadata),
        )
        try:
            yield MessageStream(call)
        finally:
            call.cancel()

    def count_tokens(
        self,
        params: MessageParams | None = None,
        *,
        timeout: float | None = None,
        call_metadata: Iterable[tuple[str, str | bytes]] = (),
        **fields: Any,
    ) -> CountTokensResponse:
        """Return how many input tokens a request would have."""
        request = build_request(CountTokensRequest, params, fields)
        return self._call(self._messages.CountTokens, request, timeout, call_metadata)

    def server_info(self) -> GetServerInfoResponse:
        """Return the gateway's version, limits and what is switched on."""
        return self._call(self._gateway.GetServerInfo, GetServerInfoRequest(), None, ())

    def _call(
        self,
        method: grpc.UnaryUnaryMultiCallable[_Request, _Response],
        request: _Request,
        timeout: float | None,
        call_metadata: Iterable[tuple[str, str | bytes]],
    ) -> _Response:
        timeout = self._timeout if timeout is None else timeout
        try:
            return method(request, timeout=timeout, metadata=tuple(call_metadata))
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error


class _StreamCall(Protocol):
    """What a stream needs of grpc's call, whose own type has no public name."""

    def __next__(self) -> StreamMessageResponse: ...

    def trailing_metadata(self) -> Iterable[Any]: ...


class MessageStream:
    """The events of one answer, in order, until it is whole or an error is raised."""

    def __init__(self, call: _StreamCall) -> None:
        self._call = call
        self._state = StreamState()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> StreamMessageResponse:
        try:
            return self._state.take(next(self._call))
        except StopIteration:
            self._state.end(self._call.trailing_metadata())
            raise
        except grpc.RpcError as error:
            raise self._state.fail(from_rpc_error(error, partial=self._state.has_begun)) from error

    @property
    def text_stream(self) -> Iterator[str]:
        """The answer's text, piece by piece; other events are passed over."""
        return filter(None, map(text_of, self))

    def final_message(self) -> AssistantMessage:
        """Return the whole message, after all events that are left."""
        for _ in self:
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
