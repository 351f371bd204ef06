"""``claude_grpc.v1.MessagesService``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

from claude_grpc.codec import Decoder, Encoder, MessageAccumulator, rawjson
from claude_grpc.errors import UpstreamError, UpstreamProtocolError
from claude_grpc.rpc.abandoned import AbandonedCalls
from claude_grpc.rpc.call import Call
from claude_grpc.rpc.forward import Forward, Route
from claude_grpc.rpc.large import give_way
from claude_grpc.telemetry import names
from claude_grpc.v1 import messages_pb2, options_pb2

__all__ = ["MessagesServicer"]

_FINISH = options_pb2.DISCONNECT_POLICY_FINISH
_PING = messages_pb2.StreamMessageResponse(type="ping", ping=messages_pb2.Ping())
_PARAMS = messages_pb2.MessageParams.DESCRIPTOR

_ENCODER = Encoder(_PARAMS, pause=give_way, reserved="stream")

_CREATE = Route("/v1/messages", _ENCODER, Decoder(messages_pb2.AssistantMessage))
_STREAM = Route("/v1/messages", _ENCODER, Decoder(messages_pb2.StreamMessageResponse), b'"stream":true')
_COUNT = Route(
    "/v1/messages/count_tokens",
    Encoder(_PARAMS, counting=True, pause=give_way),
    Decoder(messages_pb2.CountTokensResponse),
    operation=names.COUNT_TOKENS,
    any_model=False,
)

# The official SDK takes it that 128,000 tokens take an hour, and beyond ten minutes refuses an answer in one piece:
# on a connection that silent, whoever stands between may hang up.
_MOST_TOKENS_IN_ONE_PIECE = 128_000 * 600 // 3600

_UNMERGED = "claude-grpc-unmerged-deltas"


class MessagesServicer:
    """Claude's next turn in a conversation."""

    def __init__(self, forward: Forward, abandoned: AbandonedCalls) -> None:
        self._forward = forward
        self._abandoned = abandoned

    async def create_message(
        self, request: messages_pb2.CreateMessageRequest, call: Call
    ) -> messages_pb2.CreateMessageResponse:
        """The whole turn; a long one is streamed by upstream and put together here."""
        is_long = _max_tokens(request.params) > _MOST_TOKENS_IN_ONE_PIECE
        answering = self._gather(request, call) if is_long else self._forward.send(_CREATE, request, call)
        if request.call_options.on_disconnect == _FINISH:
            answering = self._abandoned.answer(call, answering)
        return messages_pb2.CreateMessageResponse(message=await answering)

    async def _gather(self, request: messages_pb2.CreateMessageRequest, call: Call) -> messages_pb2.AssistantMessage:
        whole = MessageAccumulator()
        try:
            async with aclosing(self._forward.stream(_STREAM, request, call)) as events:
                async for event in events:
                    whole.add(event)
        except UpstreamError as error:
            # Of what came before the error, the caller has seen nothing.
            error.context = replace(error.context, partial=False)
            raise
        if not whole.has_begun:
            raise UpstreamProtocolError("Upstream sent a stream without message_start.", call.upstream)
        _tell_unmerged(whole, call)
        return whole.message

    async def stream_message(
        self, request: messages_pb2.StreamMessageRequest, call: Call
    ) -> AsyncIterator[messages_pb2.StreamMessageResponse]:
        """The turn as it is written."""
        whole = MessageAccumulator() if request.stream_options.include_final_message else None
        answering = self._forward.stream(_STREAM, request, call, exact=request.stream_options.exact_events)
        if request.call_options.on_disconnect == _FINISH:
            answering = self._abandoned.stream(call, answering)
        del request
        async with aclosing(answering):
            async for event in answering:
                if event.type == "message_start":
                    call.keepalive = _PING
                if whole is not None:
                    whole.add(event)
                    if event.HasField("message_stop"):
                        event.message_stop.message.CopyFrom(whole.message)
                        _tell_unmerged(whole, call)
                yield event

    async def count_tokens(
        self, request: messages_pb2.CountTokensRequest, call: Call
    ) -> messages_pb2.CountTokensResponse:
        """How many input tokens the request would have."""
        return await self._forward.send(_COUNT, request, call)


def _max_tokens(params: messages_pb2.MessageParams) -> float:
    """The parameter, wherever it stands; 0 for what is none."""
    if params.HasField("max_tokens") or not params.extra_json:
        return params.max_tokens
    try:
        members = rawjson.split_object(params.extra_json.encode()) or {}
        return float(bytes(members.get("max_tokens", b"0")))
    except (ValueError, RecursionError):
        return 0  # the encoder or upstream will say what is wrong with it


def _tell_unmerged(whole: MessageAccumulator, call: Call) -> None:
    if whole.unmerged:
        call.trailers[_UNMERGED] = _visible(",".join(sorted(whole.unmerged)))


def _visible(text: str) -> str:
    """As much of the text as a trailer can hold."""
    return "".join(character for character in text if character.isascii() and character.isprintable())[:256]
