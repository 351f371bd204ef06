"""The API's rules for a request's parameters, each broken one a 400 in the API's words; the first one found is told.

The rules for ``messages`` stand in ``turns``. Wordings follow what the API is known to answer.
"""

from __future__ import annotations

import re
from typing import Any

from .betas import check_betas
from .errors import ApiError, invalid
from .headers import Caller
from .options import SimulatorOptions
from .shapes import COUNT_PARAMETERS, CUSTOM_TOOL, NEWEST_VERSION, PARAMETERS, TOOL_FAMILIES, Shape

__all__ = ["check_fields", "check_parameters", "check_tag", "one_of"]

_TYPE_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", list: "list", dict: "dictionary"}
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_DATE = re.compile(r"_20\d{6}$")
_SAMPLING = ("temperature", "top_p", "top_k")
_LEAST_BUDGET = 1024
_MOST_MARKS = 4


def one_of(path: str, value: Any, *allowed: str | None) -> None:
    """Check an enumeration."""
    if value not in allowed:
        names = ", ".join(f"'{name}'" for name in allowed if name)
        raise invalid(path, f"Input should be {' or '.join(names.rsplit(', ', 1))}")


def check_tag(path: str, value: Any, allowed: Any) -> str:
    """Check that a value is an object whose ``type`` is one of those allowed, and return it."""
    if not isinstance(value, dict):
        raise invalid(path, "Input should be a valid dictionary")
    if "type" not in value:
        raise invalid(f"{path}.type", "Field required")
    tag = value["type"]
    if not isinstance(tag, str) or tag not in allowed:
        tags = ", ".join(f"'{name}'" for name in sorted(allowed))
        raise invalid(path, f"Input tag '{tag}' found using 'type' does not match any of the expected tags: {tags}")
    return tag


def check_fields(path: str, value: dict[str, Any], shape: Shape, extra: frozenset[str]) -> None:
    """Check that an object has the fields it must have and no unknown ones."""
    for name in shape.required:
        if name not in value:
            raise invalid(f"{path}.{name}", "Field required")
    for name in value:
        if name not in shape.allowed and name not in extra and name != "type":
            raise invalid(f"{path}.{name}", "Extra inputs are not permitted")


def check_parameters(body: dict[str, Any], caller: Caller, options: SimulatorOptions, *, counting: bool) -> None:
    """Check all parameters but the contents of ``messages``; ``counting`` means those of count_tokens."""
    for name in ("model", "messages") if counting else ("model", "messages", "max_tokens"):
        if name not in body:
            raise invalid(name, "Field required")
    known = {name: value for name, value in body.items() if name not in options.extra_parameters}
    for name, value in known.items():
        _check_parameter(name, value, caller, counting=counting)
    check_betas(known, caller)
    if not body["model"].startswith("claude"):
        raise ApiError(404, f"model: {body['model']}")
    _check_values(body)
    _check_thinking(body)
    _check_tools(body, options)
    _check_tool_choice(body)
    _check_mcp_servers(body)
    marks = _count_marks(body)
    if marks > _MOST_MARKS:
        raise ApiError(400, f"A maximum of {_MOST_MARKS} blocks with cache_control may be provided. Found {marks}.")


def _check_parameter(name: str, value: Any, caller: Caller, *, counting: bool) -> None:
    if name in _SAMPLING and caller.version == NEWEST_VERSION:
        raise invalid(name, f"Sampling parameters are not supported in API version {NEWEST_VERSION}")
    known = COUNT_PARAMETERS if counting else PARAMETERS
    if name not in known:
        raise invalid(name, "Extra inputs are not permitted")
    # Not isinstance: True is an int to Python, not to JSON.
    if type(value) not in PARAMETERS[name]:
        raise invalid(name, f"Input should be a valid {_TYPE_NAMES[PARAMETERS[name][0]]}")


def _check_values(body: dict[str, Any]) -> None:
    if body.get("max_tokens", 0) < 0:
        raise invalid("max_tokens", "Input should be greater than or equal to 0")
    for name in ("temperature", "top_p"):
        if not 0 <= body.get(name, 1) <= 1:
            raise invalid(name, "Input should be between 0 and 1")
    for number, sequence in enumerate(body.get("stop_sequences", ())):
        if not isinstance(sequence, str):
            raise invalid(f"stop_sequences.{number}", "Input should be a valid string")
        if not sequence.strip():
            raise ApiError(400, "stop_sequences: each stop sequence must contain non-whitespace")
    one_of("service_tier", body.get("service_tier"), "auto", "standard_only", None)
    one_of("speed", body.get("speed"), "standard", "fast", None)
    if body.get("compaction") is not None and body.get("context_management") is not None:
        raise ApiError(400, "compaction: cannot be combined with `context_management`")
    effort = body.get("output_config", {}).get("effort")
    one_of("output_config.effort", effort, "low", "medium", "high", "xhigh", "max", None)


def _check_thinking(body: dict[str, Any]) -> None:
    if "thinking" not in body:
        return
    thinking = body["thinking"]
    kind = check_tag("thinking", thinking, ("adaptive", "between_tools", "disabled", "enabled"))
    if kind in ("adaptive", "enabled"):
        one_of(f"thinking.{kind}.display", thinking.get("display"), "summarized", "omitted", "updates", None)
        if body.get("temperature", 1) != 1:
            raise ApiError(400, "`temperature` may only be set to 1 when thinking is enabled.")
        if (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
            raise ApiError(400, "Thinking may not be enabled when tool_choice forces tool use.")
    if kind != "enabled":
        return
    path, budget = "thinking.enabled.budget_tokens", thinking.get("budget_tokens")
    if "budget_tokens" not in thinking:
        raise invalid(path, "Field required")
    if type(budget) is not int:
        raise invalid(path, "Input should be a valid integer")
    if budget < _LEAST_BUDGET:
        raise invalid(path, f"Input should be greater than or equal to {_LEAST_BUDGET}")
    if body.get("max_tokens", budget + 1) <= budget:
        raise ApiError(400, "`max_tokens` must be greater than `thinking.budget_tokens`.")


def _check_tools(body: dict[str, Any], options: SimulatorOptions) -> None:
    names: list[str] = []
    for number, tool in enumerate(body.get("tools", ())):
        path = f"tools.{number}"
        if not isinstance(tool, dict):
            raise invalid(path, "Input should be a valid dictionary")
        kind = str(tool.get("type") or "custom")
        if kind not in options.extra_block_types:
            check_tag(path, {"type": _DATE.sub("", kind)}, TOOL_FAMILIES)
        if kind == "custom":
            _check_custom_tool(f"{path}.custom", tool, options)
        names.extend([str(tool["name"])] if "name" in tool else [])
    if len(set(names)) < len(names):
        raise ApiError(400, "tools: Tool names must be unique.")


def _check_custom_tool(path: str, tool: dict[str, Any], options: SimulatorOptions) -> None:
    check_fields(path, tool, CUSTOM_TOOL, options.extra_fields)
    if not isinstance(tool["name"], str) or not _TOOL_NAME.fullmatch(tool["name"]):
        raise invalid(f"{path}.name", f"String should match pattern '^{_TOOL_NAME.pattern}$'")
    schema = tool["input_schema"]
    if not isinstance(schema, dict):
        raise invalid(f"{path}.input_schema", "Input should be a valid dictionary")
    if "type" not in schema:
        raise invalid(f"{path}.input_schema.type", "Field required")
    one_of(f"{path}.input_schema.type", schema["type"], "object")


def _check_tool_choice(body: dict[str, Any]) -> None:
    if "tool_choice" not in body:
        return
    choice = body["tool_choice"]
    kind = check_tag("tool_choice", choice, ("any", "auto", "none", "tool"))
    if not body.get("tools"):
        raise ApiError(400, "tool_choice: may only be specified while providing tools")
    if kind != "tool":
        return
    if "name" not in choice:
        raise invalid("tool_choice.tool.name", "Field required")
    if choice["name"] not in [tool.get("name") for tool in body["tools"]]:
        raise ApiError(400, f"tool_choice: Tool '{choice['name']}' not found in provided tools")


def _check_mcp_servers(body: dict[str, Any]) -> None:
    """Every toolset of an MCP server names one that is there."""
    servers = [server.get("name") for server in body.get("mcp_servers", ()) if isinstance(server, dict)]
    for number, tool in enumerate(body.get("tools", ())):
        if tool.get("type") == "mcp_toolset" and tool.get("mcp_server_name") not in servers:
            raise invalid(f"tools.{number}.mcp_server_name", "MCP server not found in `mcp_servers`")


def _count_marks(body: dict[str, Any]) -> int:
    """Count the cache marks wherever one may stand; free-form JSON, as a tool's input, is not looked into."""
    places: list[Any] = [body, *body.get("tools", ())]
    messages = [message for message in body["messages"] if isinstance(message, dict)]
    contents = [body.get("system"), *(message.get("content") for message in messages)]
    while contents:
        content = contents.pop()
        blocks = [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
        places += blocks
        contents += [block["content"] for block in blocks if "content" in block]
    marks = [place["cache_control"] for place in places if place.get("cache_control") is not None]
    for mark in marks:
        check_tag("cache_control", mark, ("ephemeral",))
        one_of("cache_control.ephemeral.ttl", mark.get("ttl"), "5m", "1h", None)
    return len(marks)
