"""What an answer says about itself when it is asked for by name: why it ended, where it ran, what it cost.

Names and what they stand for are listed in ``faults``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .prompt import Prompt

__all__ = ["FACTS", "ONLY_COMPACTION", "add_facts"]

Message = dict[str, Any]

# The answer is a compaction and nothing else.
ONLY_COMPACTION = "pause_after_compaction"

_TOKENS = {"input_tokens": 90, "output_tokens": 9, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 7}
_REFUSAL = {
    "type": "refusal",
    "category": "cyber",
    "explanation": None,
    "fallback_credit_token": "fct_01",
    "fallback_has_prefill_claim": False,
    "recommended_model": "claude-haiku-4-5",
}
_CACHE = {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0}


def add_facts(message: Message, prompt: Prompt) -> Message:
    """Return a message with what ``answer`` names, and with what follows from its blocks."""
    kinds = [block["type"] for block in message["content"]]
    if "fallback" in kinds:
        message = message | {"model": message["content"][kinds.index("fallback")]["to"]["model"]}
    calls = [block["name"] for block in message["content"] if block["type"] == "server_tool_use"]
    if calls:
        counts = {f"{tool}_requests": calls.count(tool) for tool in ("web_search", "web_fetch")}
        message = message | {"usage": message["usage"] | {"server_tool_use": counts}}
    for name in prompt.asked:
        if name in FACTS:
            message = message | FACTS[name](message, prompt)
    return message


def _ended(reason: str) -> Callable[[Message, Prompt], Message]:
    def end(message: Message, prompt: Prompt) -> Message:
        # A turn that is sent back at the end of the conversation has paused already, and now goes on; one that calls a
        # tool waits for the caller.
        waits = message["stop_reason"] == "tool_use" or prompt.body["messages"][-1]["role"] == "assistant"
        if message["stop_reason"] == "max_tokens" or (reason == "pause_turn" and waits):
            return {}
        return {"stop_reason": reason, "stop_sequence": None}

    return end


def _refuse(message: Message, prompt: Prompt) -> Message:
    ended = _ended("refusal")(message, prompt)
    return ended | {"stop_details": _REFUSAL} if ended else {}


def _compact(message: Message, prompt: Prompt) -> Message:
    nothing = dict.fromkeys(_TOKENS, 0)
    iterations = [{"type": "compaction", **_TOKENS, "cache_creation": _CACHE}]
    return _ended("compaction")(message, prompt) | {"usage": message["usage"] | nothing | {"iterations": iterations}}


def _tell_usage(message: Message, prompt: Prompt) -> Message:
    model = {"model": prompt.body["model"]}
    iterations = [
        {"type": "message", **_TOKENS, "cache_creation": None, "model": None},
        {"type": "compaction", **_TOKENS, "cache_creation": _CACHE},
        {"type": "advisor_message", **_TOKENS, "cache_creation": _CACHE, **model},
        {"type": "fallback_message", **_TOKENS, "cache_creation": None, **model},
    ]
    credit = {"status": {"type": "not_applied", "reason": "expired", "remove_to_redeem": ["speed"]}}
    told = {"iterations": iterations, "fallback_credit": credit, "inference_geo": "eu", "speed": "fast"}
    return {"usage": message["usage"] | told}


def _tell(fields: Message) -> Callable[[Message, Prompt], Message]:
    return lambda _message, _prompt: fields


FACTS: dict[str, Callable[[Message, Prompt], Message]] = {
    "refusal": _refuse,
    "pause_turn": _ended("pause_turn"),
    "window_exceeded": _ended("model_context_window_exceeded"),
    ONLY_COMPACTION: _compact,
    "container": _tell(
        {
            "container": {
                "id": "container_01",
                "expires_at": "2026-10-21T01:00:00Z",
                "skills": [{"type": "anthropic", "skill_id": "xlsx", "version": "20261001"}],
            }
        }
    ),
    "context_management": _tell(
        {
            "context_management": {
                "applied_edits": [
                    {"type": "clear_tool_uses_20250919", "cleared_input_tokens": 5000, "cleared_tool_uses": 8},
                    {"type": "clear_thinking_20251015", "cleared_input_tokens": 300, "cleared_thinking_turns": 3},
                ]
            }
        }
    ),
    "diagnostics": _tell(
        {"diagnostics": {"cache_miss_reason": {"type": "system_changed", "cache_missed_input_tokens": 1200}}}
    ),
    "input_transformations": _tell(
        {
            "input_transformations": [
                {"type": "thinking_dropped", "path": "messages.1.content.0", "reason": "model_binding_mismatch"}
            ]
        }
    ),
    "usage": _tell_usage,
}
