"""The API's rules for a conversation: roles, blocks, signatures, and that every tool call gets its result."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from .betas import locked_blocks
from .checks import check_fields, check_tag, one_of
from .errors import ApiError, invalid
from .headers import Caller
from .options import SimulatorOptions
from .raw_json import ODD_JSON, parse
from .server_results import CALLS, RESULTS, check_objects, check_pairs
from .shapes import BLOCKS, FUTURE_FIELD, NEWEST_VERSION, RESULT_BLOCKS
from .signing import Signer

__all__ = ["ConversationCheck"]

_MESSAGE_FIELDS = ("role", "content")
_SYSTEM_FIELDS = (*_MESSAGE_FIELDS, "clear_at", "output_config")
_TURN_BLOCKS = frozenset(BLOCKS) - {"tool_reference", "browser_state"}
_BLOCKS_OF = {"system": frozenset({"text", "tool_addition", "tool_removal"}), "result": RESULT_BLOCKS}
_SOURCES = {"image": ("base64", "file", "url"), "document": ("base64", "content", "file", "text", "url")}
_ONE_SIDED = {"tool_result": "user"} | dict.fromkeys(
    ("tool_use", "thinking", "redacted_thinking", "compaction", "fallback", *CALLS, *RESULTS), "assistant"
)
_TOOL_ID = re.compile(r"[a-zA-Z0-9_-]+")
_ODD = parse(ODD_JSON)


@dataclass
class _Turn:
    """Messages of one role in a row, which are one turn to the API; each block with its path."""

    role: str
    number: int
    blocks: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def of_type(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        return ((path, block) for path, block in self.blocks if block["type"] == kind)


class ConversationCheck:
    """Checks ``system`` and ``messages`` of one request."""

    def __init__(self, caller: Caller, options: SimulatorOptions, signer: Signer) -> None:
        self._newest = caller.version == NEWEST_VERSION
        self._locked = locked_blocks(caller)
        self._options = options
        self._signer = signer

    def check(self, body: dict[str, Any], *, thinks: bool) -> None:
        """Check a request whose parameters passed.

        Raises:
            ApiError: 400, the first rule that is broken.
        """
        messages = body["messages"]
        if not messages:
            raise ApiError(400, "messages: at least one message is required")
        self._check_content("system", body.get("system", ""), "system")
        turns: list[_Turn] = []
        for number, message in enumerate(messages):
            role, blocks = self._check_message(number, message, last=number == len(messages) - 1)
            if not turns or turns[-1].role != role:
                turns.append(_Turn(role, number))
            turns[-1].blocks += blocks
        for turn, following in zip(turns, [*turns[1:], None], strict=True):
            _check_calls(turn, following)
        for before, turn in zip([None, *turns], turns, strict=False):
            _check_results(turn, before)
        for turn in turns:
            check_pairs(turn.number, turn.blocks, last=turn is turns[-1])
        if thinks:
            _check_thinking_first(turns)

    def _check_message(self, number: int, message: Any, *, last: bool) -> tuple[str, list[tuple[str, Any]]]:
        path = f"messages.{number}"
        if not isinstance(message, dict):
            raise invalid(path, "Input should be a valid dictionary")
        for name in ("role", "content"):
            if name not in message:
                raise invalid(f"{path}.{name}", "Field required")
        role = message["role"]
        one_of(f"{path}.role", role, "user", "assistant", "system")
        for name in message:
            if name not in (_SYSTEM_FIELDS if role == "system" else _MESSAGE_FIELDS):
                raise invalid(f"{path}.{name}", "Extra inputs are not permitted")
        if not message["content"] and not (last and role == "assistant"):
            raise invalid(path, f"{role} messages must have non-empty content")
        return role, self._check_content(f"{path}.content", message["content"], role)

    def _check_content(self, path: str, content: Any, role: str) -> list[tuple[str, Any]]:
        if isinstance(content, str):
            return [(path, {"type": "text", "text": content})] if content else []
        if not isinstance(content, list):
            raise invalid(path, "Input should be a valid list")
        for number, block in enumerate(content):
            self._check_block(f"{path}.{number}", block, role)
        return [(f"{path}.{number}", block) for number, block in enumerate(content)]

    def _check_block(self, path: str, block: Any, role: str) -> None:
        allowed = _BLOCKS_OF.get(role, _TURN_BLOCKS) - self._locked
        tag = check_tag(path, block, allowed | self._options.extra_block_types)
        if tag in self._options.extra_block_types:
            return
        if role in ("user", "assistant") and _ONE_SIDED.get(tag, role) != role:
            raise invalid(path, f"`{tag}` blocks can only be in `{_ONE_SIDED[tag]}` messages")
        check_fields(f"{path}.{tag}", block, BLOCKS[tag], self._options.extra_fields | {FUTURE_FIELD})
        if block.get(FUTURE_FIELD, _ODD) != _ODD:
            raise invalid(f"{path}.{tag}.{FUTURE_FIELD}", "Input differs from what was sent")
        check_objects(f"{path}.{tag}", block, self._options.extra_fields)
        self._check_kind(path, tag, block, role)
        for place, name in self._signer.broken(path, block):
            raise invalid(place, f"Invalid `{name}` in `{tag}` block")

    def _check_kind(self, path: str, tag: str, block: dict[str, Any], role: str) -> None:
        if tag == "text":
            self._check_text(path, block, role)
        elif tag in _SOURCES:
            if tag == "document" and role == "assistant" and self._newest:
                raise invalid(path, "`document` blocks are not permitted in `assistant` messages")
            _check_source(f"{path}.{tag}.source", block["source"], _SOURCES[tag])
        elif tag == "tool_use":
            _check_call(f"{path}.tool_use", block)
        elif tag in ("tool_result", "search_result"):
            self._check_content(f"{path}.{tag}.content", block.get("content", ""), "result")

    def _check_text(self, path: str, block: dict[str, Any], role: str) -> None:
        if not isinstance(block["text"], str):
            raise invalid(f"{path}.text.text", "Input should be a valid string")
        if not block["text"]:
            raise ApiError(400, "messages: text content blocks must be non-empty")
        if block.get("citations") and role in ("user", "result") and self._newest:
            raise invalid(f"{path}.text.citations", "citations are only permitted in `assistant` messages")


def _check_call(path: str, block: dict[str, Any]) -> None:
    if not isinstance(block["id"], str) or not _TOOL_ID.fullmatch(block["id"]):
        raise invalid(f"{path}.id", f"String should match pattern '^{_TOOL_ID.pattern}$'")
    if not isinstance(block["input"], dict):
        raise invalid(f"{path}.input", "Input should be a valid dictionary")


def _check_source(path: str, source: Any, allowed: tuple[str, ...]) -> None:
    kind = check_tag(path, source, allowed)
    data = source.get("data")
    if kind in ("base64", "text") and not isinstance(data, str):
        raise invalid(f"{path}.{kind}.data", "Input should be a valid string")
    if kind == "base64":
        try:
            base64.b64decode(data, validate=True)
        except ValueError:
            raise invalid(f"{path}.base64.data", "Input should be valid base64") from None


def _check_calls(turn: _Turn, following: _Turn | None) -> None:
    """Every tool_use of an assistant turn has its result at the start of the user turn after it."""
    called = [block["id"] for _, block in turn.of_type("tool_use")]
    answers = following.blocks if following and following.role == "user" else []
    first = takewhile(lambda item: item[1]["type"] == "tool_result", answers)
    answered = {str(block["tool_use_id"]) for _, block in first}
    if missing := [name for name in called if name not in answered]:
        raise invalid(
            f"messages.{turn.number}",
            f"`tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(missing)}. "
            "Each `tool_use` block must have a corresponding `tool_result` block in the next message.",
        )


def _check_results(turn: _Turn, before: _Turn | None) -> None:
    """Every tool_result answers one tool_use of the turn before it, once."""
    open_calls = [block["id"] for _, block in before.of_type("tool_use")] if before else []
    seen: set[str] = set()
    for path, block in turn.of_type("tool_result"):
        name = str(block["tool_use_id"])
        if name in seen:
            raise invalid(
                path, f"each `tool_use` must have a single result. Found multiple `tool_result` blocks with id: {name}"
            )
        if name not in open_calls:
            raise invalid(
                path,
                f"unexpected `tool_use_id` found in `tool_result` blocks: {name}. Each `tool_result` block must have a "
                "corresponding `tool_use` block in the previous message.",
            )
        seen.add(name)


def _check_thinking_first(turns: list[_Turn]) -> None:
    """With thinking on, the last assistant turn that called a tool begins with the thinking that led to it."""
    last = next((turn for turn in reversed(turns) if turn.role == "assistant"), None)
    if last is None or not any(last.of_type("tool_use")):
        return
    path, first = last.blocks[0]
    if first["type"] not in ("thinking", "redacted_thinking"):
        raise invalid(
            f"{path}.type",
            f"Expected `thinking` or `redacted_thinking`, but found `{first['type']}`. When `thinking` is enabled, a "
            "final `assistant` message must start with a thinking block (preceeding the lastmost set of `tool_use` and "
            "`tool_result` blocks). To avoid this requirement, disable `thinking`.",
        )
