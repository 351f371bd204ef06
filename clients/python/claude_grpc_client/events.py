"""What the events of a stream amount to, for the blocking and the async client alike.

It is fed by them and reads nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import grpc

from claude_grpc.v1.messages_pb2 import AssistantMessage, StreamMessageResponse
from claude_grpc_client.errors import ClaudeError, InternalError, text_trailers
from claude_grpc_client.timing import Timing, read_timing

__all__ = ["StreamState", "text_of", "thinking_of"]


def text_of(event: StreamMessageResponse) -> str:
    """Return the text that an event adds to the answer; empty for all other events."""
    match event.WhichOneof("event"):
        case "content_block_delta":
            return event.content_block_delta.delta.text_delta.text
        case "content_block_start":
            return event.content_block_start.content_block.text.text
    return ""


def thinking_of(event: StreamMessageResponse) -> str:
    """Return the thinking that an event adds; empty for all other events."""
    match event.WhichOneof("event"):
        case "content_block_delta":
            return event.content_block_delta.delta.thinking_delta.thinking
        case "content_block_start":
            return event.content_block_start.content_block.thinking.thinking
    return ""


class StreamState:
    """How far a stream has come, and how it ended.

    Attributes:
        has_begun: Whether an event has come.
        trailers: The response's trailers without binary ones; empty until the stream has ended.
        request_id: The Claude API's id of the request; empty until the stream has ended.
    """

    def __init__(self) -> None:
        self.has_begun = False
        self.trailers: Mapping[str, str] = {}
        self.request_id = ""
        self._failure: ClaudeError | None = None
        self._message: AssistantMessage | None = None

    @property
    def timing(self) -> Timing | None:
        """How the gateway spent the call's time; None until the stream has ended, or if it was not told."""
        return read_timing(self.trailers)

    def take(self, event: StreamMessageResponse) -> StreamMessageResponse:
        """Note an event and return it."""
        self.has_begun = True
        if event.message_stop.HasField("message"):
            self._message = event.message_stop.message
        return event

    def fail(self, failure: ClaudeError) -> ClaudeError:
        """Note that the stream ended with an error and return it."""
        self._failure = failure
        self.trailers, self.request_id = failure.trailers, failure.request_id
        return failure

    def end(self, trailing: Iterable[Any] | None) -> None:
        """Note that the stream has no more events; one that has failed before, fails again."""
        if self._failure is not None:
            raise self._failure
        self.trailers = text_trailers(trailing or ())
        self.request_id = self.trailers.get("request-id", "")

    def final_message(self) -> AssistantMessage:
        """Return the whole message of a stream that has ended well."""
        if self._message is None:
            raise InternalError(
                "The stream has ended without its final message.",
                code=grpc.StatusCode.INTERNAL,
                request_id=self.request_id,
                partial=self.has_begun,
                trailers=self.trailers,
            )
        return self._message
