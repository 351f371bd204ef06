"""Which tools an answer calls, and with what input: values made from the schema, always the same."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from .errors import ApiError
from .prompt import Prompt
from .raw_json import ODD_JSON, RawJson, encode

__all__ = ["ToolCall", "choose_calls", "example"]

_ASKS = re.compile(r"\b(?:use|call) the tool(s)?\b", re.IGNORECASE)
_MAX_DEPTH = 12
# Tools of the API that the caller runs, by the beginning of their type: an input, and in a toolset the tool's own name.
_CALLERS: dict[str, tuple[dict[str, Any], str]] = {
    "bash_": ({"command": "ls"}, ""),
    "browser_toolset_": ({"url": "https://example.com"}, "navigate"),
    "computer_toolset_": ({}, "screenshot"),
    "computer_": ({"action": "screenshot"}, ""),
    "memory_": ({"command": "view", "path": "/memories"}, ""),
    "text_editor_": ({"command": "view", "path": "sky.txt"}, ""),
}


class ToolCall(NamedTuple):
    """A tool's name, the JSON text of its input, and the toolset it belongs to, if to one."""

    name: str
    input: RawJson
    toolset: str | None = None


def choose_calls(prompt: Prompt) -> list[ToolCall]:
    """Return the calls that the request asks for: one, or one a tool for "use the tools"."""
    tools = [tool for tool in prompt.body.get("tools", ()) if tool.get("type") in (None, "custom") or _own(tool)]
    choice = prompt.body.get("tool_choice", {"type": "auto"})
    asked = _ASKS.search(prompt.question)
    if choice["type"] == "none" or (choice["type"] == "auto" and not asked):
        return []
    named = [tool for tool in tools if tool.get("name") in (choice.get("name"), *prompt.question.split())]
    several = asked and asked[1] and not choice.get("disable_parallel_tool_use")
    chosen = tools if several and choice["type"] != "tool" else (named or tools)[:1]
    return [_call(tool, prompt) for tool in chosen]


def _own(tool: dict[str, Any]) -> tuple[dict[str, Any], str] | None:
    return next((row for start, row in _CALLERS.items() if str(tool.get("type")).startswith(start)), None)


def _call(tool: dict[str, Any], prompt: Prompt) -> ToolCall:
    own = _own(tool)
    given, member = own or (example(tool["input_schema"]), "")
    wanted = prompt.directives.get("tool-input")
    text = RawJson(wanted.text or ODD_JSON) if wanted else RawJson(encode(given))
    return ToolCall(member, text, tool["type"].rpartition("_")[0]) if member else ToolCall(tool["name"], text)


def example(schema: Any) -> Any:
    """Return a value that fits a schema as far as its types, constants and bounds go; a string is its field's name.

    Raises:
        ApiError: 400, a keyword that is needed has no value of its kind.
    """
    try:
        return _example(schema, schema, "value", 0)
    except (AttributeError, LookupError, TypeError):
        raise ApiError(400, "JSON schema is invalid. It must match JSON Schema draft 2020-12.") from None


def _example(schema: Any, root: dict[str, Any], name: str, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return None
    for keyword in ("const", "default"):
        if keyword in schema:
            return schema[keyword]
    for keyword in ("enum", "examples"):
        if schema.get(keyword):
            return schema[keyword][0]
    for keyword in ("anyOf", "oneOf", "allOf"):
        if schema.get(keyword):
            return _example(schema[keyword][0], root, name, depth + 1)
    if "$ref" in schema:
        return _example(_resolve(schema["$ref"], root), root, name, depth + 1)
    return _of_type(schema, root, name, depth)


def _of_type(schema: dict[str, Any], root: dict[str, Any], name: str, depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties = (schema.get("properties") or {}).items()
        return {key: _example(value, root, key, depth + 1) for key, value in properties}
    if kind == "array":
        return [_example(schema.get("items", {}), root, name, depth + 1)] * schema.get("minItems", 1)
    if kind in ("integer", "number"):
        number = max(7 if kind == "integer" else 1.5, schema.get("minimum", 0))
        return min(number, schema.get("maximum", number))
    return {"boolean": True, "null": None}.get(kind, name)


def _resolve(reference: str, root: dict[str, Any]) -> Any:
    value: Any = root
    for key in reference.removeprefix("#/").split("/"):
        value = value.get(key) if isinstance(value, dict) else None
    return value
