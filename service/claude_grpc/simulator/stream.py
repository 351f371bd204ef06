"""Takes an answer apart into the events of a stream, in the API's order, and writes them as server-sent events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .faults import Event
from .messages import Answer
from .raw_json import ODD_JSON, RawJson, encode
from .shapes import FUTURE_FIELD
from .tokens import split

__all__ = ["events", "frame"]

_FRAGMENT_LENGTH = 7
# What message_delta tells again, cumulative.
_FINAL_USAGE = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "output_tokens_details",
    "server_tool_use",
    "iterations",
    "fallback_credit",
    FUTURE_FIELD,
)
# What message_start does not know yet: absent, or null.
_LATE_USAGE = ("output_tokens_details", "iterations", "fallback_credit")
_LATE_DELTA = ("stop_reason", "stop_sequence", "stop_details", "container")
_LATE_EVENT = ("context_management",)


def events(answer: Answer, *, unknown_delta: bool = False) -> Iterator[Event]:
    """Yield the events of an answer; unknown fields of the message are on every event and delta, too."""
    message = answer.message
    extra = {FUTURE_FIELD: message[FUTURE_FIELD]} if FUTURE_FIELD in message else {}
    for event in _events(answer, extra, unknown_delta=unknown_delta):
        yield Event(event["type"], encode(event | extra))


def _events(answer: Answer, extra: dict[str, Any], *, unknown_delta: bool) -> Iterator[dict[str, Any]]:
    message = answer.message
    fallback = next((block for block in message["content"] if block["type"] == "fallback"), None)
    # What a fallback has transformed is told when that is over.
    late_event = (*_LATE_EVENT, *(("input_transformations",) if fallback else ()))
    yield {"type": "message_start", "message": _started(message, fallback, late_event)}
    yield {"type": "ping"}
    for index, block in enumerate(message["content"]):
        last = index == len(message["content"]) - 1
        yield {"type": "content_block_start", "index": index, "content_block": _opened(block)}
        if unknown_delta and block["type"] == "text":
            delta = {"type": "future_delta", FUTURE_FIELD: ODD_JSON}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        for delta in _deltas(block, answer.cut_input if last else None):
            yield {"type": "content_block_delta", "index": index, "delta": delta | extra}
        yield {"type": "content_block_stop", "index": index}
    told = {name: message[name] for name in late_event if name in message}
    ended = {name: message[name] for name in _LATE_DELTA if name in message}
    final = {name: message["usage"][name] for name in _FINAL_USAGE if name in message["usage"]}
    yield {"type": "message_delta", "delta": ended | extra, "usage": final} | told
    yield {"type": "message_stop"}


def _started(message: dict[str, Any], fallback: dict[str, Any] | None, late: tuple[str, ...]) -> dict[str, Any]:
    """Return a message as it stands in message_start."""
    usage = {name: value for name, value in message["usage"].items() if name not in _LATE_USAGE}
    usage |= {"output_tokens": 1, "server_tool_use": None}
    unknown = {name: None for name in (*_LATE_DELTA, *late) if name in message}
    asked = {"model": fallback["from"]["model"]} if fallback else {}
    return message | unknown | asked | {"content": [], "usage": usage}


def _opened(block: dict[str, Any]) -> dict[str, Any]:
    """Return a block as it stands in content_block_start: what deltas will bring is empty."""
    match block["type"]:
        case "text":
            return block | {"text": ""} | ({"citations": []} if "citations" in block else {})
        case "thinking":
            return block | {"thinking": "", "signature": ""}
        case "tool_use" | "server_tool_use" | "mcp_tool_use":
            return block | {"input": RawJson("{}")}
        case "compaction":
            return block | {"content": None, "encrypted_content": None}
        case _:
            return block


def _deltas(block: dict[str, Any], cut_input: str | None) -> Iterator[dict[str, Any]]:
    match block["type"]:
        case "text":
            for citation in block.get("citations", ()):
                yield {"type": "citations_delta", "citation": citation}
            for token in split(block["text"]):
                yield {"type": "text_delta", "text": token}
        case "thinking":
            for token in split(block["thinking"]):
                yield {"type": "thinking_delta", "thinking": token}
            yield {"type": "signature_delta", "signature": block["signature"]}
        case "tool_use" | "server_tool_use" | "mcp_tool_use":
            text = cut_input or block["input"]
            yield {"type": "input_json_delta", "partial_json": ""}
            for start in range(0, len(text), _FRAGMENT_LENGTH):
                yield {"type": "input_json_delta", "partial_json": text[start : start + _FRAGMENT_LENGTH]}
        case "compaction":
            told = {name: block[name] for name in ("content", "encrypted_content")}
            yield {"type": "compaction_delta", **told}


def frame(event: Event, number: int) -> bytes:
    """Return the bytes of an event, its JSON padded with spaces, as the API's is; the same for the same stream."""
    padding = " " * (number * number % 11)
    data = event.data[:-1] + padding + "}" if event.data.endswith("}") else event.data
    return f"event: {event.name}\ndata: {data}\n\n".encode()
