"""A part of a request that needs a beta is taken with its header and refused without."""

from __future__ import annotations

from typing import Any

import pytest

USER = [{"role": "user", "content": "Hi"}]
SERVERS = [{"type": "url", "url": "https://example.com/mcp", "name": "library"}]
TOOLSET = {"type": "mcp_toolset", "mcp_server_name": "library"}
SYSTEM = {"role": "system", "content": "Be short."}
SCREEN = {"name": "computer", "display_width_px": 800, "display_height_px": 600}


def edits(kind: str) -> dict[str, Any]:
    return {"context_management": {"edits": [{"type": kind}]}}


def answered(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [*USER, {"role": "assistant", "content": list(blocks)}, *USER]}


MCP_CALL = {"type": "mcp_tool_use", "id": "mcptoolu_1", "name": "a", "input": {}, "server_name": "library"}
MCP_RESULT = {"type": "mcp_tool_result", "tool_use_id": "mcptoolu_1", "content": "done", "is_error": False}
FALLBACK = {"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}}
REMOVAL = {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "a"}}

LOCKED: list[tuple[str, dict[str, Any], str]] = [
    ("context-management-2025-06-27", {"context_management": None}, "context_management"),
    ("context-management-2025-06-27", edits("clear_tool_uses_20250919"), "context_management"),
    ("compact-2026-01-12", edits("compact_20260112"), "context_management"),
    ("compact-2026-09-04", {"compaction": {"type": "summarize"}}, "compaction"),
    ("mcp-client-2025-04-04", {"mcp_servers": SERVERS}, "mcp_servers"),
    ("mcp-client-2025-11-20", {"mcp_servers": SERVERS, "tools": [TOOLSET]}, "mcp_servers"),
    ("server-side-fallback-2026-06-01", {"fallbacks": [{"model": "claude-haiku-4-5"}]}, "fallbacks"),
    ("server-side-fallback-2026-07-01", {"fallbacks": "default"}, "fallbacks"),
    ("fallback-credit-2026-07-01", {"fallback_credit_token": "fct_1"}, "fallback_credit_token"),
    ("message-threads-2026-08-12", {"thread": {"type": "create"}}, "thread"),
    ("user-profiles-billing-2026-10-01", {"billing_policy": {"type": "billing_policy"}}, "billing_policy"),
    ("fast-mode-2026-02-01", {"speed": "fast", "model": "claude-opus-4-6"}, "speed"),
    (
        "task-budgets-2026-03-13",
        {"output_config": {"task_budget": {"type": "tokens", "total": 9}}},
        "output_config.task_budget",
    ),
    (
        "thinking-display-updates-2026-08-18",
        {"thinking": {"type": "adaptive", "display": "updates"}},
        "thinking.display",
    ),
    (
        "thinking-binding-controls-2026-08-01",
        {"thinking": {"type": "adaptive", "block_binding": {}}},
        "thinking.block_binding",
    ),
    ("computer-use-2025-01-24", {"tools": [{"type": "computer_20250124", **SCREEN}]}, "tools.0"),
    ("computer-use-2025-11-24", {"tools": [{"type": "computer_20251124", **SCREEN}]}, "tools.0"),
    ("computer-use-2024-10-22", {"tools": [{"type": "bash_20241022", "name": "bash"}]}, "tools.0"),
    (
        "advisor-tool-2026-03-01",
        {"tools": [{"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-5"}]},
        "tools.0",
    ),
    ("mcp-client-2025-11-20", answered(MCP_CALL, MCP_RESULT), "messages.1.content.0"),
    ("server-side-fallback-2026-06-01", answered(FALLBACK), "messages.1.content.0"),
    (
        "mid-conversation-tool-changes-2026-07-01",
        {"messages": [*USER, {"role": "system", "content": [REMOVAL]}]},
        "messages.1.content.0",
    ),
    (
        "mid-conversation-system-clear-at-2026-08-21",
        {"messages": [*USER, SYSTEM | {"clear_at": "never"}]},
        "messages.1.clear_at",
    ),
    (
        "mid-conversation-output-config-2026-07-01",
        {"messages": [*USER, SYSTEM | {"output_config": {"effort": "low"}}]},
        "messages.1.output_config",
    ),
]


@pytest.mark.parametrize(("beta", "parameters", "path"), LOCKED, ids=[f"{row[2]} {row[0]}" for row in LOCKED])
async def test_a_beta_unlocks_what_is_its_own(ask: Any, beta: str, parameters: dict[str, Any], path: str) -> None:
    body = ask.body() | parameters
    taken = await ask.post(body, anthropic_beta=beta)
    assert taken.status == 200, taken.error
    for others in (None, "interleaved-thinking-2025-05-14"):
        reply = await ask.post(body, anthropic_beta=others)
        assert (reply.status, reply.error.partition(": ")[0]) == (400, path)


@pytest.mark.parametrize(("older", "parameters"), [
    ("server-side-fallback-2026-06-01", {"fallbacks": "default"}),
    ("context-management-2025-06-27", edits("compact_20260112")),
    ("compact-2026-01-12", edits("clear_thinking_20251015")),
    ("mcp-client-2025-04-04", {"mcp_servers": SERVERS, "tools": [TOOLSET]}),
    ("computer-use-2025-01-24", {"tools": [{"type": "computer_20251124", **SCREEN}]}),
])  # fmt: skip
async def test_a_beta_unlocks_no_more(ask: Any, older: str, parameters: dict[str, Any]) -> None:
    assert (await ask.post(ask.body(**parameters), anthropic_beta=older)).status == 400


async def test_the_fast_mode_of_newer_models_needs_no_beta(ask: Any) -> None:
    assert (await ask(speed="fast")).status == 200


async def test_compaction_and_context_management_exclude_each_other(ask: Any) -> None:
    body = ask.body(compaction={"type": "summarize"}, context_management={"edits": []})
    betas = "compact-2026-09-04,context-management-2025-06-27"
    assert (await ask.post(body, anthropic_beta=betas)).error.startswith("compaction: cannot be combined")


async def test_a_toolset_of_a_server_that_is_not_there_is_refused(ask: Any) -> None:
    body = ask.body(mcp_servers=SERVERS, tools=[TOOLSET | {"mcp_server_name": "museum"}])
    reply = await ask.post(body, anthropic_beta="mcp-client-2025-11-20")
    assert reply.error == "tools.0.mcp_server_name: MCP server not found in `mcp_servers`"


async def test_only_system_messages_have_fields_of_their_own(ask: Any) -> None:
    body = ask.body([USER[0] | {"clear_at": "never"}])
    reply = await ask.post(body, anthropic_beta="mid-conversation-system-clear-at-2026-08-21")
    assert reply.error == "messages.0.clear_at: Extra inputs are not permitted"
