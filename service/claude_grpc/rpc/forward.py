"""The one way of a call through the gateway: check, encode, send, read, decode.

Beside ``fetch``, the only module that knows both the codec and upstream, which do not know each other.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from google.protobuf.message import Message

from claude_grpc.codec import Decoder, Encoder, MessageAccumulator, Violations
from claude_grpc.codec.newer import note_newer_fields, refuse_newer_fields
from claude_grpc.errors import RequestTooLargeError, StreamInterruptedError, UpstreamContext, UpstreamError
from claude_grpc.rpc.call import Call
from claude_grpc.rpc.deadline import DeadlinePolicy
from claude_grpc.rpc.fallback import FallbackPolicy, ask_in_turn
from claude_grpc.rpc.headers import HeaderFields, read_headers
from claude_grpc.rpc.large import LARGE_BYTES, encode_large
from claude_grpc.rpc.options import read_options, read_window
from claude_grpc.rpc.relay import joined
from claude_grpc.telemetry import names
from claude_grpc.telemetry.ledger import Phase
from claude_grpc.telemetry.model_calls import ModelCall
from claude_grpc.upstream import EventStream, ServerSentEvent, UpstreamClient, UpstreamRequest, api_error
from claude_grpc.v1.messages_pb2 import AssistantMessage, MessageParams, MessageStop, StreamMessageResponse
from claude_grpc.v1.options_pb2 import CallOptions

__all__ = ["Forward", "Route"]

M = TypeVar("M", bound=Message)
T = TypeVar("T")

_STOP = StreamMessageResponse(type="message_stop", message_stop=MessageStop())


class ParamsRequest(HeaderFields, Protocol):
    """A request whose body is made of its ``params``."""

    @property
    def params(self) -> MessageParams:
        """What becomes the body."""

    @property
    def call_options(self) -> CallOptions:
        """How the call is handled."""


@dataclass(frozen=True, slots=True)
class Route(Generic[M]):
    """Where a kind of call goes, and how it is spelled there.

    Attributes:
        path: Of the URL, below the endpoint's.
        encoder: Makes the body.
        decoder: Makes messages of the answer: of the whole body, or of each event's data.
        first: Members of the body before all others, as ``"key":value``.
        operation: What telemetry calls it.
        any_model: Whether another model's answer would do, so that the model is guarded and others stand in for it.
    """

    path: str
    encoder: Encoder
    decoder: Decoder[M]
    first: bytes = b""
    operation: str = names.CHAT
    any_model: bool = True


class Forward:
    """Sends requests upstream and brings the answers back.

    Args:
        client: The way to the Claude API.
        max_body_bytes: Most bytes of an encoded body.
        deadlines: When a call's time is up.
        fallbacks: Which models stand in for which.
    """

    def __init__(
        self,
        client: UpstreamClient,
        *,
        max_body_bytes: int,
        deadlines: DeadlinePolicy | None = None,
        fallbacks: FallbackPolicy | None = None,
    ) -> None:
        self._client = client
        self._max_body_bytes = max_body_bytes
        self._deadlines = deadlines or DeadlinePolicy()
        self._fallbacks = fallbacks or FallbackPolicy()

    async def send(self, route: Route[M], request: ParamsRequest, call: Call) -> M:
        """The answer to a request.

        Raises:
            RequestError: It cannot be sent as it is.
            UpstreamError: It was not answered, or with an error.
        """

        async def send(sent: UpstreamRequest, model_call: ModelCall) -> M:
            with model_call:
                response = await self._client.send(sent, model_call.observer)
                model_call.answer_begins()
                call.answered(response.context)
                try:
                    answer = route.decoder.decode(response.body)
                except UpstreamError as error:
                    error.context = response.context
                    raise
                if isinstance(answer, AssistantMessage):
                    model_call.answered(answer)
                    model_call.whole(answer)
                return answer

        return await self._ask(route, request, call, send)

    async def stream(
        self, route: Route[StreamMessageResponse], request: ParamsRequest, call: Call, *, exact: bool = True
    ) -> AsyncGenerator[StreamMessageResponse, None]:
        """The events of an answer, up to and including ``message_stop``; closing it closes the connection to upstream.

        Unless they are to be exact, deltas that came together may be joined.

        Raises:
            RequestError: It cannot be sent as it is.
            UpstreamError: It was not answered, or with an error, or its answer is not whole.
        """

        async def open_stream(sent: UpstreamRequest, model_call: ModelCall) -> tuple[EventStream, ModelCall]:
            try:
                return await self._client.stream(sent, model_call.observer), model_call
            except BaseException as error:
                model_call.end(error)
                raise

        events, model_call = await self._ask(route, request, call, open_stream, streams=True)
        # Not needed any more, and it may have 30 MB.
        del request
        call.share.free()
        with model_call:
            async with events:
                model_call.answer_begins()
                call.answered(events.context)
                telling = _Telling(model_call)
                try:
                    async for read in events:
                        model_call.chunks += len(read)
                        for message in _decoded(route.decoder, read, exact=exact):
                            telling.add(message)
                            if not events.context.partial:
                                events.context = replace(events.context, partial=True)
                            yield message
                            if message.type == "message_stop":
                                await events.finish()
                                return
                    raise StreamInterruptedError("Upstream ended the stream before message_stop.")
                except UpstreamError as error:
                    error.context = events.context
                    raise
                finally:
                    telling.end(events.waited, waits=events.waits)

    async def _ask(
        self,
        route: Route[M],
        request: ParamsRequest,
        call: Call,
        send: Callable[[UpstreamRequest, ModelCall], Awaitable[T]],
        *,
        streams: bool = False,
    ) -> T:
        call.telemetry.ledger.enter(Phase.ENCODE)
        violations = Violations()
        _refuse_newer(request, violations)
        headers = read_headers(request, violations)
        options = read_options(request.call_options, violations)
        window = read_window(request, violations)
        model = request.params.model if route.any_model else ""

        async def encode(model: str) -> bytes:
            # In place: the request is this call's own, and a copy of 30 MB of media is not free.
            request.params.model = model
            return await self._encode(route, request.params, call, Violations())

        async def observed(sent: UpstreamRequest) -> T:
            fallback = sent.earlier.fallback if sent.earlier else ""
            return await send(
                sent,
                call.telemetry.calls_upstream(route.operation, request.params, streams=streams, fallback=fallback),
            )

        return await ask_in_turn(
            UpstreamRequest(
                method="POST",
                path=route.path,
                body=await self._encode(route, request.params, call, violations),
                headers=headers,
                model=model,
                max_retries=options.max_retries,
                timeouts=options.timeouts,
                window=window,
                deadline=self._deadlines.upstream(call, options),
            ),
            self._fallbacks.fallbacks(model, options),
            observed,
            encode,
        )

    async def _encode(self, route: Route[M], params: MessageParams, call: Call, violations: Violations) -> bytes:
        encode = partial(route.encoder.encode, params, violations, path="params", first=route.first)
        body = await encode_large(encode) if call.request_bytes > LARGE_BYTES else encode()
        violations.raise_if_any()
        if len(body) > self._max_body_bytes:
            raise RequestTooLargeError(len(body), self._max_body_bytes)
        return body


def _refuse_newer(request: Any, violations: Violations) -> None:
    """Note what the gateway does not know beside ``params``, which the encoder checks."""
    note_newer_fields(request, None, violations)
    for name in ("call_options", "stream_options"):
        options = getattr(request, name, None)  # not every method streams
        if options is not None:
            refuse_newer_fields(options, (None, name), violations)


class _Telling:
    """Tells telemetry of a stream's messages."""

    def __init__(self, model_call: ModelCall) -> None:
        self._model_call = model_call
        self._content = MessageAccumulator() if model_call.captures_content else None

    def add(self, message: StreamMessageResponse) -> None:
        if message.type != "content_block_delta":
            self._model_call.take(message)
        if self._content is not None:
            self._content.add(message)

    def end(self, waited: float, *, waits: bool) -> None:
        self._model_call.waited(waited, waits=waits)
        if self._content is not None:
            self._content.add(_STOP)
            self._model_call.whole(self._content.message)


def _decoded(
    decoder: Decoder[StreamMessageResponse], read: list[ServerSentEvent], *, exact: bool
) -> Iterator[StreamMessageResponse]:
    # Taken out one by one: what was sent is not kept while the rest waits for a slow reader.
    read.reverse()
    messages = (_decode(decoder, read.pop()) for _ in range(len(read)))
    yield from messages if exact else joined(messages)


def _decode(decoder: Decoder[StreamMessageResponse], event: ServerSentEvent) -> StreamMessageResponse:
    message = decoder.decode(event.data)
    if message.type == "error":
        raise api_error(200, event.data, UpstreamContext())
    return message
