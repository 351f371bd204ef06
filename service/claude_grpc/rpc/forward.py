"""The one way of a call through the gateway: check, encode, send, read, decode.

Beside ``fetch``, the only module that knows both the codec and upstream, which do not know each other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from google.protobuf.message import Message

from claude_grpc.codec import Decoder, Encoder, Violations
from claude_grpc.errors import RequestTooLargeError, StreamInterruptedError, UpstreamContext, UpstreamError
from claude_grpc.rpc.call import Call
from claude_grpc.rpc.headers import HeaderFields, read_headers
from claude_grpc.upstream import EventStream, UpstreamClient, UpstreamRequest, api_error
from claude_grpc.v1.messages_pb2 import StreamMessageResponse

__all__ = ["Forward", "Route", "give_way"]

M = TypeVar("M", bound=Message)

# Larger requests are encoded beside the loop, so that one of 30 MB does not hold up everybody's deltas.
_LARGE = 256 * 1024


def give_way() -> None:
    """Let the loop have the interpreter, which it would else wait five milliseconds for at each of its callbacks."""
    time.sleep(0.001)


class ParamsRequest(HeaderFields, Protocol):
    """A request whose body is made of its ``params``."""

    @property
    def params(self) -> Message:
        """What becomes the body."""


@dataclass(frozen=True, slots=True)
class Route(Generic[M]):
    """Where a kind of call goes, and how it is spelled there.

    Attributes:
        path: Of the URL, below the endpoint's.
        encoder: Makes the body.
        decoder: Makes messages of the answer: of the whole body, or of each event's data.
        first: Members of the body before all others, as ``"key":value``.
    """

    path: str
    encoder: Encoder
    decoder: Decoder[M]
    first: bytes = b""


class Forward:
    """Sends requests upstream and brings the answers back.

    Args:
        client: The way to the Claude API.
        max_body_bytes: Most bytes of an encoded body.
    """

    def __init__(self, client: UpstreamClient, *, max_body_bytes: int) -> None:
        self._client = client
        self._max_body_bytes = max_body_bytes

    async def send(self, route: Route[M], request: ParamsRequest, call: Call) -> M:
        """The answer to a request.

        Raises:
            RequestError: It cannot be sent as it is.
            UpstreamError: It was not answered, or with an error.
        """
        response = await self._client.send(await self._prepare(route, request, call))
        call.answered(response.context)
        with _in_context(response.context):
            return route.decoder.decode(response.body)

    @asynccontextmanager
    async def stream(
        self, route: Route[StreamMessageResponse], request: ParamsRequest, call: Call
    ) -> AsyncIterator[AsyncIterator[StreamMessageResponse]]:
        """The events of an answer, up to and including ``message_stop``; leaving closes the connection to upstream.

        Raises:
            RequestError: It cannot be sent as it is.
            UpstreamError: It was not answered, or with an error; the iteration raises it if the answer is not whole.
        """
        async with self._client.stream(await self._prepare(route, request, call)) as events:
            call.answered(events.context)
            async with aclosing(_messages(route.decoder, events)) as messages:
                yield messages

    async def _prepare(self, route: Route[M], request: ParamsRequest, call: Call) -> UpstreamRequest:
        violations = Violations()
        headers = read_headers(request, violations)
        if request.params.ByteSize() > _LARGE:
            body = await asyncio.to_thread(_encode, route, request.params, violations)
        else:
            body = _encode(route, request.params, violations)
        violations.raise_if_any()
        if len(body) > self._max_body_bytes:
            raise RequestTooLargeError(len(body), self._max_body_bytes)
        return UpstreamRequest(method="POST", path=route.path, body=body, headers=headers, deadline=call.deadline)


def _encode(route: Route[M], params: Message, violations: Violations) -> bytes:
    return route.encoder.encode(params, violations, path="params", first=route.first)


async def _messages(
    decoder: Decoder[StreamMessageResponse], events: EventStream
) -> AsyncGenerator[StreamMessageResponse, None]:
    context = events.context
    try:
        async for read in events:
            for event in read:
                message = decoder.decode(event.data)
                if message.type == "error":
                    raise api_error(200, event.data, context)
                yield message
                if not context.partial:
                    context = replace(context, partial=True)
                if message.type == "message_stop":
                    await events.finish()
                    return
        raise StreamInterruptedError("Upstream ended the stream before message_stop.")
    except UpstreamError as error:
        error.context = context
        raise


@contextmanager
def _in_context(context: UpstreamContext) -> Iterator[None]:
    """Tells an error of the codec, which knows no HTTP, in which exchange it arose."""
    try:
        yield
    except UpstreamError as error:
        error.context = context
        raise
