"""Which beta unlocks what: without its header, a parameter, a block or a tool is as unknown as one that is made up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from .errors import invalid
from .headers import Caller

__all__ = ["check_betas", "locked_blocks"]

# Each key is how a beta begins that unlocks the thing; any of them does.
Keys = tuple[str, ...]

_PARAMETERS: Mapping[str, Keys] = {
    "billing_policy": ("user-profiles-billing-",),
    "compaction": ("compact-2026-09-04",),
    "context_management": ("context-management-", "compact-2026-01-12"),
    "fallback_credit_token": ("fallback-credit-",),
    "fallbacks": ("server-side-fallback-",),
    "mcp_servers": ("mcp-client-",),
    "output_config.task_budget": ("task-budgets-",),
    "thinking.block_binding": ("thinking-binding-controls-",),
    "thread": ("message-threads-",),
}
_VALUES: Mapping[tuple[str, str], Keys] = {
    ("fallbacks", "default"): ("server-side-fallback-2026-07-01",),
    ("thinking.display", "updates"): ("thinking-display-updates-",),
}
_EDITS: Mapping[str, Keys] = {
    "clear_thinking_20251015": ("context-management-",),
    "clear_tool_uses_20250919": ("context-management-",),
    "compact_20260112": ("compact-2026-01-12",),
}
_TOOLS: Mapping[str, Keys] = {
    "advisor_20260301": ("advisor-tool-",),
    "bash_20241022": ("computer-use-2024-10-22",),
    "computer_20241022": ("computer-use-2024-10-22",),
    "computer_20250124": ("computer-use-2025-01-24",),
    "computer_20251124": ("computer-use-2025-11-24",),
    "mcp_toolset": ("mcp-client-2025-11-20", "mcp-client-2026-09-15"),
    "text_editor_20241022": ("computer-use-2024-10-22",),
}
_BLOCKS: Mapping[str, Keys] = {
    "advisor_tool_result": ("advisor-tool-",),
    "compaction": ("compact-",),
    "fallback": ("server-side-fallback-",),
    "mcp_tool_listing": ("mcp-client-2026-09-15",),
    "mcp_tool_result": ("mcp-client-",),
    "mcp_tool_use": ("mcp-client-",),
    "tool_addition": ("mid-conversation-tool-changes-",),
    "tool_removal": ("mid-conversation-tool-changes-",),
}
_MESSAGE_FIELDS: Mapping[str, Keys] = {
    "clear_at": ("mid-conversation-system-clear-at-",),
    "output_config": ("mid-conversation-output-config-",),
}
# The fast mode of these models is not yet for everybody.
_FAST_MODE_MODELS = "claude-opus-4-"
_ABSENT = object()
_EXTRA = "Extra inputs are not permitted"
# A place in a request, what is wrong with it without a beta, and the betas.
_Need = tuple[str, str, Keys]


def locked_blocks(caller: Caller) -> frozenset[str]:
    """Return the types of blocks that the caller has not unlocked."""
    return frozenset(kind for kind, keys in _BLOCKS.items() if not _unlocked(keys, caller))


def check_betas(body: dict[str, Any], caller: Caller) -> None:
    """Check that each part of a request that needs a beta has it.

    Raises:
        ApiError: 400, one has not.
    """
    for path, problem, keys in chain(_parameters(body), _tagged(body), _message_fields(body)):
        if not _unlocked(keys, caller):
            raise invalid(path, problem)


def _unlocked(keys: Keys, caller: Caller) -> bool:
    return any(beta.startswith(keys) for beta in caller.betas)


def _parameters(body: dict[str, Any]) -> Iterator[_Need]:
    for path, keys in _PARAMETERS.items():
        if _find(body, path) is not _ABSENT:
            yield path, _EXTRA, keys
    for (path, value), keys in _VALUES.items():
        if _find(body, path) == value:
            yield path, f"'{value}' is not a valid input", keys
    if body.get("speed") == "fast" and body["model"].startswith(_FAST_MODE_MODELS):
        yield "speed", f"'fast' is not a valid input for {body['model']}", ("fast-mode-",)


def _tagged(body: dict[str, Any]) -> Iterator[_Need]:
    """Yield the edits and tools that need a beta."""
    for path, table in (("context_management.edits", _EDITS), ("tools", _TOOLS)):
        parts = _find(body, path)
        for number, part in enumerate(parts if isinstance(parts, list) else ()):
            kind = str(part.get("type")) if isinstance(part, dict) else ""
            if kind in table:
                problem = f"Input tag '{kind}' found using 'type' does not match any of the expected tags"
                yield f"{path}.{number}", problem, table[kind]


def _message_fields(body: dict[str, Any]) -> Iterator[_Need]:
    for number, message in enumerate(body["messages"]):
        for name, keys in _MESSAGE_FIELDS.items():
            if isinstance(message, dict) and name in message:
                yield f"messages.{number}.{name}", _EXTRA, keys


def _find(body: dict[str, Any], path: str) -> Any:
    value: Any = body
    for name in path.split("."):
        value = value.get(name, _ABSENT) if isinstance(value, dict) else _ABSENT
    return value
