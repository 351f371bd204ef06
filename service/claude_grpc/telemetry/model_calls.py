"""One call of the Claude API as it goes: what it asked, what came back, and how it ended.

``rpc`` tells of the request and the answer, upstream of the attempts between. Of a stream only the first event and
those with totals are read; the others are counted, by whoever has them in hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from google.protobuf.message import Message

from claude_grpc.telemetry import names
from claude_grpc.telemetry.attempts import AttemptRecorder
from claude_grpc.telemetry.error_types import CANCELLED, DEADLINE_EXCEEDED, error_type
from claude_grpc.telemetry.ledger import Ledger, Phase
from claude_grpc.telemetry.metrics import ModelCallFacts
from claude_grpc.telemetry.observer import AttemptObserver
from claude_grpc.telemetry.recorders import Recorders
from claude_grpc.telemetry.request_attributes import request_attributes
from claude_grpc.telemetry.span import Attributes, Span
from claude_grpc.telemetry.usage import Usage
from claude_grpc.v1 import messages_pb2

__all__ = ["ModelCall"]

# Callers and upstream may write what they like.
_LONGEST: Final = 128


class ModelCall:
    """A call of the Claude API, which begins when this is made; a context manager around what follows, which ends it.

    Attributes:
        chunks: The events of a stream so far.
        usage: The tokens, as far as they are known.

    Args:
        recorders: Where to tell of it.
        ledger: Of the RPC that it is made for.
        parent: That RPC's span.
        operation: ``chat``, ``count_tokens`` …
        params: What is asked.
        streams: Whether the answer comes as a stream.
        fallback: Why this model is asked and not the caller's; empty if it is the caller's.
        links: Instead of a parent, the spans of all the RPCs that it is made for.
    """

    def __init__(
        self,
        recorders: Recorders,
        ledger: Ledger,
        parent: Span,
        operation: str,
        params: Message | None = None,
        *,
        streams: bool = False,
        fallback: str = "",
        links: Sequence[Span] = (),
    ) -> None:
        self.chunks = 0
        self.usage = Usage()
        self._recorders = recorders
        self._ledger = ledger
        self._operation = operation
        self._streams = streams
        self._asked: str = getattr(params, "model", "")[:_LONGEST]
        self._answered = ""
        self._response: Attributes = {}
        self._first_chunk: float | None = None
        if fallback:
            ledger.give_up()
            recorders.metrics.fell_back(fallback)
        self._began = ledger.enter(Phase.CONNECT)
        self._span = recorders.spans.start_model_call(parent, operation, self._asked, links=links)
        self._attempts = AttemptRecorder(recorders, ledger, self._span)
        if self._span.is_recording:
            self._span.attributes = self._request_attributes(params, fallback)

    @property
    def observer(self) -> AttemptObserver:
        """Whom upstream tells of the attempts."""
        return self._attempts

    @property
    def model(self) -> str:
        """The model that answered; the one that was asked while none has."""
        return self._answered or self._asked

    @property
    def attempts(self) -> int:
        """The HTTP requests that were made for it, and for other models that were asked before."""
        return self._attempts.count

    @property
    def request_id(self) -> str:
        """Upstream's, of the last attempt that was answered; empty if none was."""
        return self._attempts.request_id

    @property
    def captures_content(self) -> bool:
        """Whether ``whole`` is to be told."""
        return self._recorders.content is not None and self._span.is_recording

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.end(error)

    def end(self, error: BaseException | None) -> None:
        """Note that the call has ended, with what it has raised."""
        word = error_type(error)
        if word == CANCELLED and self._ledger.is_late:
            word = DEADLINE_EXCEEDED
        # A call that is cancelled stays in its phase, which the RPC is about to be counted by.
        ended = self._ledger.enter(Phase.RELAY if error is None else self._ledger.phase)
        self._recorders.metrics.model_call_ended(self._facts(word, ended - self._began))
        if self._span.is_recording:
            self._recorders.spans.end_model_call(self._span, word, self._response | self._end_attributes())

    def answer_begins(self) -> None:
        """The first of an answer is there: of a stream its first event, else the whole body."""
        self._first_chunk = self._ledger.enter(Phase.RELAY) - self._began

    def answered(self, message: messages_pb2.AssistantMessage) -> None:
        """Take what a message tells of itself: the whole one, or the one that ``message_start`` brings."""
        self._answered = message.model[:_LONGEST]
        self.usage.take(message.usage)
        self._response |= {names.RESPONSE_ID: message.id[:_LONGEST], names.RESPONSE_MODEL: self._answered}
        self._stopped(message.stop_reason_raw)

    def take(self, event: messages_pb2.StreamMessageResponse) -> None:
        """Take what an event tells of the answer as a whole; deltas of blocks tell nothing."""
        match event.WhichOneof("event"):
            case "message_start":
                self.answered(event.message_start.message)
            case "message_delta":
                self.usage.take(event.message_delta.usage)
                self._stopped(event.message_delta.delta.stop_reason_raw)
            case _:
                pass

    def waited(self, seconds: float, *, waits: bool = False) -> None:
        """Note how long the gateway waited for more of an answer that had begun; ``waits`` if it was ended at that."""
        self._ledger.waited(seconds, waits=waits)

    def whole(self, message: messages_pb2.AssistantMessage) -> None:
        """Capture the content of an answer."""
        if self._recorders.content is not None and self._span.is_recording:
            self._span.attributes |= self._recorders.content.of_answer(message)

    def _stopped(self, reason: str) -> None:
        if reason:
            self._response[names.RESPONSE_FINISH_REASONS] = (reason[:_LONGEST],)

    def _request_attributes(self, params: Message | None, fallback: str) -> Attributes:
        attributes: Attributes = {names.FALLBACK: fallback} if fallback else {}
        if self._streams:
            attributes[names.REQUEST_STREAM] = True
        if not isinstance(params, messages_pb2.MessageParams):
            return attributes
        attributes |= request_attributes(params)
        if self._recorders.content is not None:
            attributes |= self._recorders.content.of_request(params)
        return attributes

    def _end_attributes(self) -> Attributes:
        usage = self.usage
        attributes: Attributes = {}
        if self._answered:
            attributes = {names.USAGE_INPUT: usage.input, names.USAGE_OUTPUT: usage.output}
        if usage.cache_read:
            attributes[names.USAGE_CACHE_READ] = usage.cache_read
        if usage.cache_write:
            attributes[names.USAGE_CACHE_WRITE] = usage.cache_write
        if usage.reasoning:
            attributes[names.USAGE_REASONING] = usage.reasoning
        if usage.service_tier:
            attributes[names.ANTHROPIC_SERVICE_TIER] = usage.service_tier[:_LONGEST]
        if self.request_id:
            attributes[names.ANTHROPIC_REQUEST_ID] = self.request_id
        if self._streams and self._first_chunk is not None:
            attributes[names.RESPONSE_TIME_TO_FIRST_CHUNK] = self._first_chunk
        return attributes

    def _facts(self, error: str, seconds: float) -> ModelCallFacts:
        first = self._first_chunk if self._streams else None
        several = first is not None and self.chunks > 1
        return ModelCallFacts(
            operation=self._operation,
            model=self._asked,
            response_model=self._answered,
            error=error,
            seconds=seconds,
            usage=self.usage,
            first_chunk=first,
            chunk_interval=(seconds - (first or 0.0)) / (self.chunks - 1) if several else None,
            span=self._span,
        )
