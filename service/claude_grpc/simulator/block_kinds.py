"""The blocks an answer holds when it is asked for by name: one row each, unsigned.

A call of a tool that the API runs itself comes with its result. Names and what they stand for are listed in ``faults``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from .prompt import Prompt
from .raw_json import ODD_JSON, RawJson, encode
from .server_results import result_type

__all__ = ["BLOCK_KINDS", "blocks_on_demand"]

Block = dict[str, Any]
# Makes the blocks of one name; the number tells its ids from those of the others.
Maker = Callable[[Prompt, int], list[Block]]

_PAGE = "https://example.com/sky"
_PDF = "JVBERi0xLjQKJUVPRgo="


def blocks_on_demand(prompt: Prompt) -> Iterator[Block]:
    """Yield the blocks that ``answer`` names, in its order."""
    for number, name in enumerate(prompt.asked):
        if name in BLOCK_KINDS:
            yield from BLOCK_KINDS[name](prompt, number)


def _one(block: Block, _prompt: Prompt, _number: int) -> list[Block]:
    return [block]


def _call(
    tool: str, given: Block, content: Any, prompt: Prompt, number: int, *, caller: Block | None = None
) -> list[Block]:
    """Return a call of the tool, and its result."""
    wanted = prompt.directives.get("tool-input")
    text = RawJson(wanted.text or ODD_JSON) if wanted else RawJson(encode(given))
    call_id = prompt.make_id("srvtoolu", number)
    call = {"type": "server_tool_use", "id": call_id, "name": tool, "input": text}
    result = {"type": result_type(call), "tool_use_id": call_id, "content": content}
    if not tool.startswith("web_"):
        return [call, result]
    called = {"caller": caller or {"type": "direct"}}
    return [call | called, result | called]


def _mcp_call(content: Any, failed: bool, prompt: Prompt, number: int) -> list[Block]:
    call_id = prompt.make_id("mcptoolu", number)
    given = RawJson(encode({"query": "sky"}))
    return [
        {"type": "mcp_tool_use", "id": call_id, "name": "search", "input": given, "server_name": "library"},
        {"type": "mcp_tool_result", "tool_use_id": call_id, "is_error": failed, "content": content},
    ]


def _search_from_code(prompt: Prompt, number: int) -> list[Block]:
    """Return a run of code that searches: the search stands between the code and its result."""
    code, ran = BLOCK_KINDS["code_execution_encrypted"](prompt, number)
    caller = {"type": "code_execution_20260120", "tool_id": code["id"]}
    return [code, *_call("web_search", {"query": "sky"}, _FOUND, prompt, number + 1000, caller=caller), ran]


def _fallback(prompt: Prompt, _number: int) -> list[Block]:
    models = {"from": {"model": prompt.body["model"]}, "to": {"model": "claude-haiku-4-5"}}
    return [{"type": "fallback", **models, "trigger": {"type": "refusal", "category": "cyber"}}]


_FOUND = [
    {"type": "web_search_result", "title": "Sky", "url": _PAGE, "page_age": "2 days ago"},
    {"type": "web_search_result", "title": "Blau: „Himmel“", "url": f"{_PAGE}?lang=de", "page_age": None},
]
_TEXT_SOURCE = {"type": "text", "media_type": "text/plain", "data": "The sky is blue."}
_PDF_SOURCE = {"type": "base64", "media_type": "application/pdf", "data": _PDF}


def _fetched(source: Block, **fields: Any) -> Block:
    document = {"type": "document", "source": source, **fields}
    return {"type": "web_fetch_result", "url": _PAGE, "content": document, "retrieved_at": "2026-10-21T00:00:00Z"}


def _ran(kind: str, *files: str, **output: str) -> Block:
    outputs = [
        {"type": kind.replace("encrypted_", "").replace("_result", "_output"), "file_id": name} for name in files
    ]
    return {"type": kind, "content": outputs, "return_code": 0, "stderr": "", **output}


def _failed(tool: str, code: str, **fields: Any) -> Block:
    return {"type": f"{tool}_tool_result_error", "error_code": code, **fields}


def _edited(kind: str, **fields: Any) -> Block:
    return {"type": f"text_editor_code_execution_{kind}_result", **fields}


_QUERY = {"query": "why is the sky blue"}
_FETCH = {"url": _PAGE}
_CODE = {"code": "print(6 * 7)"}
_COMMAND = {"command": "ls -l"}
_EDIT = {"command": "view", "path": "sky.txt"}
_PATTERN = {"query": "weather.*"}
_EDITOR = "text_editor_code_execution"
_SEARCHER = "tool_search_tool_regex"

# Name → the tool that is called, its input, its result.
_CALLS: dict[str, tuple[str, Block, Any]] = {
    "web_search": ("web_search", _QUERY, _FOUND),
    "web_search_empty": ("web_search", _QUERY, []),
    "web_search_error": ("web_search", _QUERY, _failed("web_search", "max_uses_exceeded")),
    "web_fetch": ("web_fetch", _FETCH, _fetched(_TEXT_SOURCE, title="Sky", citations={"enabled": True})),
    "web_fetch_pdf": ("web_fetch", _FETCH, _fetched(_PDF_SOURCE, title=None, citations=None) | {"retrieved_at": None}),
    "web_fetch_error": ("web_fetch", _FETCH, _failed("web_fetch", "url_not_accessible")),
    "code_execution": ("code_execution", _CODE, _ran("code_execution_result", "file_01", stdout="42\n")),
    "code_execution_encrypted": ("code_execution", _CODE, _ran("encrypted_code_execution_result", "file_02")),
    "code_execution_error": ("code_execution", _CODE, _failed("code_execution", "execution_time_exceeded")),
    "bash": (
        "bash_code_execution",
        _COMMAND,
        _ran("bash_code_execution_result", "file_03", "file_04", stdout="sky.txt\n"),
    ),
    "bash_error": ("bash_code_execution", _COMMAND, _failed("bash_code_execution", "output_file_too_large")),
    "editor_view": (
        _EDITOR,
        _EDIT,
        _edited("view", content="blue\n", file_type="text", num_lines=1, start_line=1, total_lines=None),
    ),
    "editor_create": (_EDITOR, _EDIT | {"command": "create"}, _edited("create", is_file_update=False)),
    "editor_str_replace": (
        _EDITOR,
        _EDIT | {"command": "str_replace"},
        _edited("str_replace", lines=["-blue", "+red"], new_lines=1, new_start=0, old_lines=1, old_start=None),
    ),
    "editor_error": (_EDITOR, _EDIT, _failed(_EDITOR, "file_not_found", error_message=None)),
    "tool_search": (
        _SEARCHER,
        _PATTERN,
        {
            "type": "tool_search_tool_search_result",
            "tool_references": [{"type": "tool_reference", "tool_name": "get_weather"}],
        },
    ),
    "tool_search_error": (_SEARCHER, _PATTERN, _failed("tool_search", "unavailable", error_message="Try again.")),
    "advisor": ("advisor", {}, {"type": "advisor_result", "text": "Look up.", "stop_reason": None}),
    "advisor_redacted": ("advisor", {}, {"type": "advisor_redacted_result", "stop_reason": "end_turn"}),
    "advisor_error": ("advisor", {}, _failed("advisor", "overloaded")),
}

_LISTED_TOOL = {"name": "search", "description": None, "input_schema": {"type": "object", "properties": {}}}
_SUMMARY = {"type": "compaction", "content": "We spoke about the sky.", "tool_changes": None}
_IN_DOCUMENT = {"cited_text": "The sky", "document_index": 0, "document_title": None, "file_id": None}
_CITATIONS = [
    {"type": "char_location", "start_char_index": 0, "end_char_index": 7, **_IN_DOCUMENT},
    {"type": "page_location", "start_page_number": 1, "end_page_number": 2, **_IN_DOCUMENT, "document_title": "Sky"},
    {
        "type": "content_block_location",
        "start_block_index": 0,
        "end_block_index": 1,
        **_IN_DOCUMENT,
        "file_id": "file_05",
    },
    {
        "type": "search_result_location",
        "cited_text": "blue",
        "search_result_index": 0,
        "source": _PAGE,
        "start_block_index": 0,
        "end_block_index": 1,
        "title": None,
    },
    {"type": "web_search_result_location", "cited_text": "blue", "title": "Sky", "url": _PAGE},
]

BLOCK_KINDS: dict[str, Maker] = {
    **{name: partial(_call, *row) for name, row in _CALLS.items()},
    "web_search_from_code": _search_from_code,
    "mcp": partial(_mcp_call, [{"type": "text", "text": "Found: “sky”."}], False),
    "mcp_error": partial(_mcp_call, "The library is closed.", True),
    "mcp_listing": partial(_one, {"type": "mcp_tool_listing", "mcp_server_name": "library", "tools": [_LISTED_TOOL]}),
    "container_upload": partial(_one, {"type": "container_upload", "file_id": "file_06"}),
    "compaction": partial(_one, _SUMMARY),
    "fallback": _fallback,
    "citations": partial(_one, {"type": "text", "text": "The sky is blue.", "citations": _CITATIONS}),
}
