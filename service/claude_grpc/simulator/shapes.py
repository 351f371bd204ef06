"""What the API accepts, as tables: versions, parameters, blocks and what is in them, tools. ``betas`` has the rest."""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "BETAS",
    "BLOCKS",
    "COUNT_PARAMETERS",
    "CUSTOM_TOOL",
    "FUTURE_BLOCK",
    "FUTURE_FIELD",
    "NEWEST_VERSION",
    "OBJECTS",
    "PARAMETERS",
    "RESULT_BLOCKS",
    "TOOL_FAMILIES",
    "VERSIONS",
    "Shape",
]


class Shape(NamedTuple):
    """The fields of an object: those it must have, and all it may have."""

    required: tuple[str, ...]
    allowed: frozenset[str]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _shape(required: str, optional: str = "") -> Shape:
    return Shape(tuple(required.split()), _words(f"{required} {optional}"))


NEWEST_VERSION = "2026-10-21"
VERSIONS = frozenset({"2023-06-01", NEWEST_VERSION})

BETAS = _words(
    """
    admin-user-sign-out-2026-10-08 advisor-tool-2026-03-01 agent-memory-2026-07-22 analytics-usage-cost-2026-08-24
    cache-diagnosis-2026-04-07 ce-claude-code-managed-settings-2026-10-06 ce-plugins-2026-09-01
    ce-user-management-2026-07-13 code-execution-2025-05-22 compact-2026-01-12 compact-2026-09-04
    computer-use-2024-10-22 computer-use-2025-01-24 computer-use-2025-11-24 context-1m-2025-08-07
    context-management-2025-06-27 dev-full-thinking-2025-05-14 dreaming-2026-04-21 experimental-claude-tag-2026-10-21
    extended-cache-ttl-2025-04-11 fallback-credit-2026-06-01 fallback-credit-2026-07-01 fast-mode-2026-02-01
    files-api-2025-04-14 fine-grained-tool-streaming-2025-05-14 inline-tools-2026-09-15
    interleaved-thinking-2025-05-14 managed-agents-2026-04-01 mcp-client-2025-04-04 mcp-client-2025-11-20
    mcp-client-2026-09-15 mcp-tunnels-2026-06-22 message-batches-2024-09-24 message-threads-2026-08-12
    mid-conversation-output-config-2026-07-01 mid-conversation-system-clear-at-2026-08-21
    mid-conversation-tool-changes-2026-07-01 model-context-window-exceeded-2025-08-26 oauth-2025-04-20
    output-128k-2025-02-19 output-300k-2026-03-24 pdfs-2024-09-25 prompt-caching-2024-07-31
    server-side-fallback-2026-06-01 server-side-fallback-2026-07-01 skills-2025-10-02 spend-limit-reads-2026-09-26
    structured-outputs-2025-11-13 task-budgets-2026-03-13 telemetry-destinations-2026-08-11
    thinking-binding-controls-2026-08-01 thinking-display-updates-2026-08-18 thinking-token-count-2026-05-13
    token-counting-2024-11-01 token-efficient-tools-2025-02-19 user-profiles-2026-03-24 user-profiles-2026-08-18
    user-profiles-2026-09-04 user-profiles-billing-2026-10-01 webhooks-2026-10-07
    """
)

# Parameter → the JSON types it takes.
PARAMETERS: dict[str, tuple[type, ...]] = {
    name: types
    for names, types in {
        "max_tokens top_k": (int,),
        "temperature top_p": (float, int),
        "stream": (bool,),
        "model service_tier": (str,),
        "inference_geo speed": (str, type(None)),
        "messages mcp_servers stop_sequences tools": (list,),
        "system": (str, list),
        "metadata output_config thinking tool_choice": (dict,),
        "billing_policy cache_control compaction context_management diagnostics thread": (dict, type(None)),
        "container fallback_credit_token": (str, dict, type(None)),
        "fallbacks": (list, str, type(None)),
    }.items()
    for name in names.split()
}

COUNT_PARAMETERS = _words(
    """
    messages model cache_control output_config speed system thinking tool_choice tools
    billing_policy compaction context_management mcp_servers
    """
)

# What the simulator itself sends though nobody knows it, and takes back only unchanged.
FUTURE_BLOCK = "future_block"
FUTURE_FIELD = "future_field"

BLOCKS = {
    "text": _shape("text", "cache_control citations"),
    "image": _shape("source", "cache_control transformations"),
    "document": _shape("source", "cache_control citations context title"),
    "search_result": _shape("content source title", "cache_control citations"),
    "thinking": _shape("signature thinking"),
    "redacted_thinking": _shape("data"),
    "tool_use": _shape("id input name", "cache_control caller toolset_name"),
    "tool_result": _shape("tool_use_id", "cache_control content is_error toolset_name"),
    "server_tool_use": _shape("id input name", "cache_control caller"),
    "web_search_tool_result": _shape("content tool_use_id", "cache_control caller"),
    "web_fetch_tool_result": _shape("content tool_use_id", "cache_control caller"),
    "code_execution_tool_result": _shape("content tool_use_id", "cache_control"),
    "bash_code_execution_tool_result": _shape("content tool_use_id", "cache_control"),
    "text_editor_code_execution_tool_result": _shape("content tool_use_id", "cache_control"),
    "tool_search_tool_result": _shape("content tool_use_id", "cache_control"),
    "container_upload": _shape("file_id", "cache_control"),
    "advisor_tool_result": _shape("content tool_use_id", "cache_control"),
    "mcp_tool_use": _shape("id input name server_name", "cache_control"),
    "mcp_tool_result": _shape("tool_use_id", "cache_control content is_error"),
    "compaction": _shape("", "cache_control content encrypted_content signature tool_changes"),
    "tool_addition": _shape("tool", "cache_control"),
    "tool_removal": _shape("tool", "cache_control"),
    "mcp_tool_listing": _shape("mcp_server_name tools"),
    "fallback": _shape("from to", "trigger"),
    "tool_reference": _shape("tool_name", "cache_control"),
    "browser_state": _shape("tabs", "cache_control state_changes"),
    FUTURE_BLOCK: _shape(f"{FUTURE_FIELD} signature"),
}

# What a tool_result may hold; the last two of them stand nowhere else.
RESULT_BLOCKS = _words("text image search_result document tool_reference browser_state")

# What stands inside blocks: results of the API's own tools, and citations.
OBJECTS = {
    "web_search_result": _shape("encrypted_content title url", "page_age"),
    "web_fetch_result": _shape("content url", "retrieved_at"),
    "code_execution_result": _shape("content return_code stderr stdout"),
    "encrypted_code_execution_result": _shape("content encrypted_stdout return_code stderr"),
    "code_execution_output": _shape("file_id"),
    "bash_code_execution_result": _shape("content return_code stderr stdout"),
    "bash_code_execution_output": _shape("file_id"),
    "text_editor_code_execution_view_result": _shape("content file_type", "num_lines start_line total_lines"),
    "text_editor_code_execution_create_result": _shape("is_file_update"),
    "text_editor_code_execution_str_replace_result": _shape("", "lines new_lines new_start old_lines old_start"),
    "tool_search_tool_search_result": _shape("tool_references"),
    "advisor_result": _shape("text", "stop_reason"),
    "advisor_redacted_result": _shape("encrypted_content", "stop_reason"),
    "web_search_tool_result_error": _shape("error_code"),
    "web_fetch_tool_result_error": _shape("error_code"),
    "code_execution_tool_result_error": _shape("error_code"),
    "bash_code_execution_tool_result_error": _shape("error_code"),
    "text_editor_code_execution_tool_result_error": _shape("error_code", "error_message"),
    "tool_search_tool_result_error": _shape("error_code", "error_message"),
    "advisor_tool_result_error": _shape("error_code"),
    "char_location": _shape("cited_text document_index document_title end_char_index start_char_index", "file_id"),
    "page_location": _shape("cited_text document_index document_title end_page_number start_page_number", "file_id"),
    "content_block_location": _shape(
        "cited_text document_index document_title end_block_index start_block_index", "file_id"
    ),
    "search_result_location": _shape("cited_text end_block_index search_result_index source start_block_index title"),
    "web_search_result_location": _shape("cited_text encrypted_index title url"),
}

CUSTOM_TOOL = _shape(
    "name input_schema",
    "allowed_callers cache_control defer_loading description eager_input_streaming input_examples strict",
)

# The types of the API's own tools without their dates, so that tomorrow's date is accepted.
TOOL_FAMILIES = _words(
    """
    advisor bash browser_toolset code_execution computer computer_toolset custom mcp_toolset memory text_editor
    tool_search_tool_bm25 tool_search_tool_regex web_fetch web_search
    """
)
