"""``claude_grpc.v1.MessagesService``."""

from __future__ import annotations

from collections.abc import AsyncIterator

from claude_grpc.codec import Decoder, Encoder, MessageAccumulator
from claude_grpc.rpc.call import Call
from claude_grpc.rpc.forward import Forward, Route
from claude_grpc.v1 import messages_pb2

__all__ = ["MessagesServicer"]

_PARAMS = messages_pb2.MessageParams.DESCRIPTOR

_CREATE = Route("/v1/messages", Encoder(_PARAMS), Decoder(messages_pb2.AssistantMessage))
_STREAM = Route("/v1/messages", Encoder(_PARAMS), Decoder(messages_pb2.StreamMessageResponse), b'"stream":true')
_COUNT = Route(
    "/v1/messages/count_tokens",
    Encoder(_PARAMS, counting=True),
    Decoder(messages_pb2.CountTokensResponse),
    any_model=False,
)


class MessagesServicer:
    """Claude's next turn in a conversation."""

    def __init__(self, forward: Forward) -> None:
        self._forward = forward

    async def create_message(
        self, request: messages_pb2.CreateMessageRequest, call: Call
    ) -> messages_pb2.CreateMessageResponse:
        """The whole turn."""
        return messages_pb2.CreateMessageResponse(message=await self._forward.send(_CREATE, request, call))

    async def stream_message(
        self, request: messages_pb2.StreamMessageRequest, call: Call
    ) -> AsyncIterator[messages_pb2.StreamMessageResponse]:
        """The turn as it is written."""
        whole = MessageAccumulator() if request.stream_options.include_final_message else None
        async with self._forward.stream(_STREAM, request, call) as events:
            async for event in events:
                if whole is not None:
                    whole.add(event)
                    if event.HasField("message_stop"):
                        event.message_stop.message.CopyFrom(whole.message)
                yield event

    async def count_tokens(
        self, request: messages_pb2.CountTokensRequest, call: Call
    ) -> messages_pb2.CountTokensResponse:
        """How many input tokens the request would have."""
        return await self._forward.send(_COUNT, request, call)
