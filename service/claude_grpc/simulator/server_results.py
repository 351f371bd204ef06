"""What the API's own tools answered, on its way back: each object as it must be, each result after its call.

The signatures in it are checked elsewhere.
"""

from __future__ import annotations

from typing import Any

from .checks import check_fields, check_tag
from .errors import ApiError, invalid
from .shapes import OBJECTS

__all__ = ["CALLS", "RESULTS", "check_objects", "check_pairs", "result_type"]

CALLS = ("mcp_tool_use", "server_tool_use")
RESULTS = {
    "web_search_tool_result": ("web_search_result", "web_search_tool_result_error"),
    "web_fetch_tool_result": ("web_fetch_result", "web_fetch_tool_result_error"),
    "code_execution_tool_result": (
        "code_execution_result",
        "encrypted_code_execution_result",
        "code_execution_tool_result_error",
    ),
    "bash_code_execution_tool_result": ("bash_code_execution_result", "bash_code_execution_tool_result_error"),
    "text_editor_code_execution_tool_result": (
        "text_editor_code_execution_view_result",
        "text_editor_code_execution_create_result",
        "text_editor_code_execution_str_replace_result",
        "text_editor_code_execution_tool_result_error",
    ),
    "tool_search_tool_result": ("tool_search_tool_search_result", "tool_search_tool_result_error"),
    "advisor_tool_result": ("advisor_result", "advisor_redacted_result", "advisor_tool_result_error"),
    "mcp_tool_result": ("text",),
}


def result_type(call: dict[str, Any]) -> str:
    """Return the type of the block that answers a call."""
    if call["type"] == "mcp_tool_use":
        return "mcp_tool_result"
    name = str(call["name"])
    return "tool_search_tool_result" if name.startswith("tool_search_tool_") else f"{name}_tool_result"


def check_objects(path: str, block: dict[str, Any], extra: frozenset[str]) -> None:
    """Check the objects in a block that a server tool made, or in the citations of a text."""
    if block["type"] in RESULTS:
        content = block.get("content", [])
        if block["type"] == "mcp_tool_result" and isinstance(content, str):
            return
        for part in content if isinstance(content, list) else [content]:
            check_tag(f"{path}.content", part, RESULTS[block["type"]])
        _check_shapes(f"{path}.content", content, extra)
    if block["type"] == "text":
        _check_shapes(f"{path}.citations", block.get("citations"), extra)


def _check_shapes(path: str, value: Any, extra: frozenset[str]) -> None:
    if isinstance(value, list):
        for number, item in enumerate(value):
            _check_shapes(f"{path}.{number}", item, extra)
    if isinstance(value, dict):
        kind = value.get("type")
        if isinstance(kind, str) and kind in OBJECTS:
            check_fields(f"{path}.{kind}", value, OBJECTS[kind], extra)
        for name, item in value.items():
            _check_shapes(f"{path}.{name}", item, extra)


def check_pairs(number: int, blocks: list[tuple[str, dict[str, Any]]], *, last: bool) -> None:
    """Check that in an assistant turn each result follows its call, and that no call but the last turn's has none.

    Raises:
        ApiError: 400, one does not.
    """
    waiting: dict[str, str] = {}
    for path, block in blocks:
        if block["type"] in CALLS:
            waiting[str(block["id"])] = result_type(block)
        elif block["type"] in RESULTS and waiting.pop(str(block["tool_use_id"]), None) != block["type"]:
            raise invalid(path, f"unexpected `tool_use_id` found in `{block['type']}` blocks: {block['tool_use_id']}")
    if waiting and not last:
        missing = ", ".join(f"{name} without `{kind}`" for name, kind in waiting.items())
        raise ApiError(400, f"messages.{number}: calls were found without their results after them: {missing}")
