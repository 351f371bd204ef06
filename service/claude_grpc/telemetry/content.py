"""Prompts and answers on spans, for whoever asks with ``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT``.

In the JSON of the GenAI conventions, up to a size, and without media: of an image or a document only its type is told.
Nothing of this is on by default, and no other module puts content anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from claude_grpc.telemetry import names
from claude_grpc.telemetry.span import Attributes
from claude_grpc.v1 import content_pb2, messages_pb2

__all__ = ["ContentCapture"]

# Of JSON around the words of a part or a turn.
_AROUND_BYTES: Final = 40
# Names and ids are words; what is longer is something else.
_LONGEST_WORD: Final = 128
_ROLES: Final = {messages_pb2.ROLE_USER: "user", messages_pb2.ROLE_ASSISTANT: "assistant"}


class ContentCapture:
    """Makes attributes of content.

    Args:
        max_bytes: Most bytes in one attribute, as text that needs no escapes; what comes after is left out, and a part
            says so.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    def of_request(self, params: messages_pb2.MessageParams) -> Attributes:
        """The conversation, and the instructions before it."""
        room = _Room(self._max_bytes)
        spoken = [
            {"role": _ROLES.get(message.role, "system"), "parts": room.parts(message.content, message.text)}
            for message in room.until_full(params.messages)
        ]
        attributes: Attributes = {names.INPUT_MESSAGES: _json(spoken)}
        if params.system or params.system_text:
            instructions = _Room(self._max_bytes).parts(params.system, params.system_text)
            attributes[names.SYSTEM_INSTRUCTIONS] = _json(instructions)
        return attributes

    def of_answer(self, message: messages_pb2.AssistantMessage) -> Attributes:
        """Claude's turn."""
        turn = {
            "role": "assistant",
            "parts": _Room(self._max_bytes).parts(message.content),
            "finish_reason": message.stop_reason_raw,
        }
        return {names.OUTPUT_MESSAGES: _json([turn])}


class _Room:
    """How many bytes still fit."""

    def __init__(self, size: int) -> None:
        self._left = size

    @property
    def is_full(self) -> bool:
        return self._left <= 0

    def until_full(self, items: Iterable[Any]) -> Iterable[Any]:
        """The items, as long as there is room, of which each takes some for what stands around its words."""
        for item in items:
            if self.is_full:
                return
            self._left -= _AROUND_BYTES
            yield item

    def parts(self, blocks: Iterable[content_pb2.ContentBlock], text: str = "") -> list[dict[str, Any]]:
        found = [self._text({"type": "text"}, "content", text)] if text else []
        found += [self._part(block) for block in self.until_full(blocks)]
        return [*found, {"type": "truncated"}] if self.is_full else found

    def _part(self, block: content_pb2.ContentBlock) -> dict[str, Any]:
        match block.WhichOneof("block"):
            case "text":
                return self._text({"type": "text"}, "content", block.text.text)
            case "thinking":
                return self._text({"type": "reasoning"}, "content", block.thinking.thinking)
            case "tool_use":
                call = {
                    "type": "tool_call",
                    "id": self._word(block.tool_use.id),
                    "name": self._word(block.tool_use.name),
                }
                return self._text(call, "arguments", block.tool_use.input_json)
            case "tool_result":
                answer: dict[str, Any] = {"type": "tool_call_response", "id": self._word(block.tool_result.tool_use_id)}
                return answer | {"response": self.parts(block.tool_result.content, block.tool_result.text)}
            case arm:
                return {"type": self._word(block.type or arm or "")}

    def _text(self, part: dict[str, Any], key: str, text: str) -> dict[str, Any]:
        encoded = text.encode()
        kept = encoded[: max(self._left, 0)].decode(errors="ignore")
        self._left -= len(encoded)
        return part | {key: kept}

    def _word(self, text: str) -> str:
        kept = text[:_LONGEST_WORD]
        self._left -= len(kept.encode())
        return kept


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
