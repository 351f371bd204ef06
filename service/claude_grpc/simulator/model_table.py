"""The models that the simulator lists: their names are the API's; limits and dates are near enough for tests."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["ALIASES", "MODELS", "Model", "describe_capabilities"]

_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_THINKING = ("adaptive", "between_tools", "disabled", "enabled")
_EDITS = ("clear_thinking_20251015", "clear_tool_uses_20250919", "compact_20260112")


class Model(NamedTuple):
    """One model; dates are days, ``efforts`` and ``thinking`` what it knows of these, separated by spaces."""

    id: str
    display_name: str
    line: str | None
    created: str
    max_input_tokens: int
    max_tokens: int
    efforts: str
    thinking: str
    lifecycle: str = "active"
    deprecated: str | None = None
    retires: str | None = None


_NEW = "low medium high xhigh max"
_OLD = "low medium high"
_ADAPTIVE = "adaptive between_tools disabled"
_BUDGETED = "disabled enabled"

# Newest first, as they are listed.
MODELS = (
    Model("claude-sonnet-5-5", "Claude Sonnet 5.5", "sonnet", "2026-09-29", 1_000_000, 128_000, _NEW, _ADAPTIVE),
    Model("claude-haiku-5-5", "Claude Haiku 5.5", "haiku", "2026-09-29", 400_000, 64_000, _NEW, _ADAPTIVE),
    Model("claude-opus-5-5", "Claude Opus 5.5", "opus", "2026-09-08", 1_000_000, 128_000, _NEW, _ADAPTIVE),
    Model("claude-fable-5-1", "Claude Fable 5.1", "fable", "2026-08-18", 1_000_000, 128_000, _NEW, "adaptive"),
    Model("claude-opus-5", "Claude Opus 5", "opus", "2026-07-23", 1_000_000, 128_000, _NEW, _ADAPTIVE),
    Model("claude-sonnet-5", "Claude Sonnet 5", "sonnet", "2026-06-30", 1_000_000, 128_000, _NEW, _ADAPTIVE),
    Model("claude-opus-4-8", "Claude Opus 4.8", "opus", "2026-05-12", 1_000_000, 128_000, _NEW, _ADAPTIVE),
    Model("claude-sonnet-4-6", "Claude Sonnet 4.6", "sonnet", "2026-02-17", 1_000_000, 64_000, _OLD, _BUDGETED),
    Model(
        "claude-opus-4-5-20251101", "Claude Opus 4.5", "opus", "2025-11-24", 200_000, 64_000, _OLD, _BUDGETED,
        "deprecated", "2026-09-01", "2027-03-01",
    ),
    Model("claude-haiku-4-5-20251001", "Claude Haiku 4.5", "haiku", "2025-10-01", 200_000, 64_000, "", _BUDGETED),
    Model(
        "claude-sonnet-4-5-20250929", "Claude Sonnet 4.5", "sonnet", "2025-09-29", 1_000_000, 64_000, "", _BUDGETED,
        "deprecated", "2026-08-01",
    ),
    Model(
        "claude-3-5-sonnet-20241022", "Claude Sonnet 3.5", "sonnet", "2024-10-22", 200_000, 8_192, "", "disabled",
        "retired", "2025-08-13", "2025-10-28",
    ),
    Model(
        "claude-2.1", "Claude 2.1", None, "2023-11-21", 200_000, 4_096, "", "disabled",
        "retired", "2025-01-21", "2025-07-21",
    ),
)  # fmt: skip

# Shorter names that the API takes for a dated one.
ALIASES = {
    "claude-haiku-4-5": "claude-haiku-4-5-20251001",
    "claude-opus-4-5": "claude-opus-4-5-20251101",
    "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
}


def describe_capabilities(model: Model) -> dict[str, Any]:
    """Return the ``capabilities`` object; all keys are there, whatever the model can do."""
    modern = model.lifecycle != "retired"
    return {
        "batch": _support(modern),
        "citations": _support(modern),
        "code_execution": _support(modern),
        "image_input": _support(model.line is not None),
        "pdf_input": _support(model.line is not None),
        "structured_outputs": _support(modern),
        "effort": _support(bool(model.efforts)) | _support_each(_EFFORTS, model.efforts),
        "thinking": _support(model.thinking != "disabled") | {"types": _support_each(_THINKING, model.thinking)},
        "context_management": _support(modern) | {edit: _support(modern) for edit in _EDITS},
        "server_tools": _support(modern) | {tool: _support(modern) for tool in ("web_search", "code_execution")},
    }


def _support(supported: bool) -> dict[str, Any]:
    return {"supported": supported}


def _support_each(names: tuple[str, ...], known: str) -> dict[str, Any]:
    return {name: _support(name in known.split()) for name in names}
