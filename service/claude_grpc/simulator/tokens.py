"""Token counts: made up, but the same for the same request, and never zero for something.

A token is a word with the space before it, long words in pieces: what a stream sends as one delta. Media counts by
size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from .raw_json import encode

__all__ = ["PromptTokens", "count_prompt", "split"]

_PIECE = re.compile(r"\s*\S{1,12}|\s+\Z")
_MESSAGE_OVERHEAD = 4
_MEDIA_BYTES_PER_TOKEN = 750


def split(text: str) -> list[str]:
    """Return the tokens of a text; joined they are the text again."""
    return _PIECE.findall(text)


class PromptTokens(NamedTuple):
    """The tokens of a prompt, and how many of them stand before its last cache mark, by time to live."""

    total: int
    cached: int
    ttl: str


def count_prompt(body: dict[str, Any]) -> PromptTokens:
    """Count the prompt of a request that passed the checks."""
    total, cached, ttl = 3, 0, "5m"
    for tokens, mark in _parts(body):
        total += tokens
        if mark:
            cached, ttl = total, mark.get("ttl") or "5m"
    if mark := body.get("cache_control"):
        cached, ttl = total, mark.get("ttl") or "5m"
    return PromptTokens(total, cached, ttl)


def _parts(body: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yield the prompt's parts in the order in which the API caches them: tools, system, messages."""
    for tool in body.get("tools") or []:
        yield len(split(encode(tool))), tool.get("cache_control")
    yield from _content(body.get("system") or [])
    for message in body["messages"]:
        yield _MESSAGE_OVERHEAD, None
        yield from _content(message["content"])


def _content(content: str | list[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any] | None]]:
    if isinstance(content, str):
        yield len(split(content)), None
        return
    for block in content:
        inner = block.get("content")
        marks = [_mark(part) for part in inner] if isinstance(inner, list) else []
        yield _count(block), _mark(block) or next(filter(None, reversed(marks)), None)


def _mark(part: Any) -> dict[str, Any] | None:
    return part.get("cache_control") if isinstance(part, dict) else None


def _count(value: Any) -> int:
    """Count the strings of a JSON value, names of fields left out."""
    if isinstance(value, str):
        return len(split(value))
    if isinstance(value, list):
        return sum(map(_count, value))
    if isinstance(value, dict):
        if value.get("type") == "base64":
            return 1 + len(str(value.get("data"))) // _MEDIA_BYTES_PER_TOKEN
        return sum(_count(item) for name, item in value.items() if name not in ("type", "cache_control"))
    return 1
