"""Builds the answer to a request that passed the checks: an echo, with thinking and tool calls where asked for.

The answer is a whole message; ``stream`` takes it apart again. The same request gives the same message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .block_kinds import BLOCK_KINDS, blocks_on_demand
from .errors import ApiError
from .message_facts import FACTS, ONLY_COMPACTION, add_facts
from .prompt import Prompt
from .raw_json import ODD_JSON, RawJson, encode
from .server_results import CALLS
from .shapes import FUTURE_BLOCK, FUTURE_FIELD
from .signing import Signer
from .tokens import count_prompt, split
from .tool_calls import choose_calls, example

__all__ = ["Answer", "build_answer"]

# The field of a block that costs tokens, and that max_tokens cuts.
_SPOKEN = {"text": "text", "thinking": "thinking", "tool_use": "input", "compaction": "content"}
_QUOTE_LENGTH = 200


@dataclass(frozen=True)
class Answer:
    """A message, and, where ``max_tokens`` cut the input of its last tool call, as much of that as was written."""

    message: dict[str, Any]
    cut_input: str | None = None


def build_answer(prompt: Prompt, signer: Signer) -> Answer:
    """Return the whole answer.

    Raises:
        ApiError: 400, it is to hold what there is not.
    """
    if unknown := [name for name in prompt.asked if name not in BLOCK_KINDS and name not in FACTS]:
        raise ApiError(400, f"[[answer]]: no `{unknown[0]}`; there are {', '.join((*BLOCK_KINDS, *FACTS))}")
    blocks, stopped_by = _stop(_draft(prompt), prompt.body.get("stop_sequences", ()))
    fitted, output, fits = _fit(blocks, prompt.body["max_tokens"])
    calls = any(block["type"] == "tool_use" for block in fitted)
    reason = "tool_use" if calls else "stop_sequence" if stopped_by is not None else "end_turn"
    reason = "future_stop_reason" if "unknown-stop-reason" in prompt.directives else reason
    cut_input = fitted[-1]["input"] if calls and not fits and fitted[-1]["type"] == "tool_use" else None
    if cut_input is not None:
        fitted[-1]["input"] = RawJson("{}")
    extra = {FUTURE_FIELD: ODD_JSON} if "extra-field" in prompt.directives else {}
    thinking = sum(len(split(block["thinking"])) for block in fitted if block["type"] == "thinking")
    message = {
        "id": prompt.make_id("msg"),
        "type": "message",
        "role": "assistant",
        "model": prompt.body["model"],
        "content": [_finish(block, prompt, signer) | extra for block in fitted],
        "stop_reason": reason if fits else "max_tokens",
        "stop_sequence": stopped_by if fits else None,
        "stop_details": None,
        "usage": _usage(prompt, output, thinking) | extra,
        **extra,
    }
    return Answer(add_facts(message, prompt), cut_input)


def _draft(prompt: Prompt) -> list[dict[str, Any]]:
    """Return the blocks of the answer, unsigned and uncut."""
    if ONLY_COMPACTION in prompt.asked:
        return BLOCK_KINDS["compaction"](prompt, 0)
    blocks: list[dict[str, Any]] = []
    if prompt.thinks:
        blocks.append({"type": "thinking", "thinking": _thoughts(prompt)})
    if "redacted-thinking" in prompt.directives:
        blocks.append({"type": "redacted_thinking"})
    if "unknown-block" in prompt.directives:
        blocks.append({"type": FUTURE_BLOCK})
    blocks += blocks_on_demand(prompt)
    calls = choose_calls(prompt)
    if not calls:
        citations = _citations(prompt.body["messages"])
        return [*blocks, {"type": "text", "text": _text(prompt)} | ({"citations": citations} if citations else {})]
    if prompt.body.get("tool_choice", {"type": "auto"})["type"] == "auto":
        blocks.append({"type": "text", "text": f"I will call {' and '.join(call.name for call in calls)}."})
    for number, call in enumerate(calls):
        block = {"type": "tool_use", "id": prompt.make_id("toolu", number), "name": call.name, "input": call.input}
        blocks.append(block | {"caller": {"type": "direct"}} | ({"toolset_name": call.toolset} if call.toolset else {}))
    return blocks


def _thoughts(prompt: Prompt) -> str:
    if prompt.results:
        return f"The tool has answered {len(prompt.results)} time(s). I should pass on what it said, and no more."
    question = prompt.question[:_QUOTE_LENGTH]
    return f"The user writes: “{question}”. An echo of that is all I can give. I should say so plainly."


def _text(prompt: Prompt) -> str:
    """Return what the answer says."""
    wanted = prompt.body.get("output_config", {}).get("format")
    if isinstance(wanted, dict) and isinstance(wanted.get("schema"), dict):
        return encode(example(wanted["schema"]))
    if prompt.results:
        text = " ".join(f"The tool answered: “{result}”." for result in prompt.results)
    elif prompt.question:
        text = f"You asked: “{prompt.question}”. I am a simulator, so this echo is my whole answer."
    else:
        text = "You sent no text. I am a simulator, so I have nothing to echo."
    times = prompt.directives.get("repeat")
    return " ".join([text] * max(1, int(times.amount))) if times else text


def _citations(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cite the beginning of each plain text document that allows it."""
    contents = [message["content"] for message in messages if isinstance(message["content"], list)]
    documents = [block for content in contents for block in content if block["type"] == "document"]
    return [
        {
            "type": "char_location",
            "cited_text": document["source"]["data"][:20],
            "document_index": index,
            "document_title": document.get("title"),
            "start_char_index": 0,
            "end_char_index": min(20, len(document["source"]["data"])),
            "file_id": None,
        }
        for index, document in enumerate(documents)
        if (document.get("citations") or {}).get("enabled") and document["source"]["type"] == "text"
    ]


def _stop(blocks: list[dict[str, Any]], sequences: list[str]) -> tuple[list[dict[str, Any]], str | None]:
    """End the answer before the first stop sequence in its text, and return which one it was."""
    for number, block in enumerate(blocks):
        text = block.get("text", "")
        found = [(text.index(sequence), sequence) for sequence in sequences if sequence in text]
        if found:
            end, sequence = min(found)
            kept = [block | {"text": text[:end]}] if end else []
            return [*blocks[:number], *kept], sequence
    return blocks, None


def _fit(blocks: list[dict[str, Any]], max_tokens: int) -> tuple[list[dict[str, Any]], int, bool]:
    """Cut the blocks to ``max_tokens``; return them, the tokens used, and whether all was said."""
    fitted: list[dict[str, Any]] = []
    left = max_tokens
    for block in blocks:
        spoken = _SPOKEN.get(block["type"])
        tokens = split(block[spoken]) if spoken else [block["type"]]
        if not left:
            return _whole_calls(fitted), max_tokens, False
        kept = tokens[:left]
        left -= len(kept)
        if len(kept) < len(tokens) and spoken:
            return [*_whole_calls(fitted), block | {spoken: "".join(kept)}], max_tokens, False
        fitted.append(block)
    return fitted, max_tokens - left, True


def _whole_calls(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out the calls whose results are not there: a turn never ends between the two."""
    answered = {block.get("tool_use_id") for block in blocks}
    return [block for block in blocks if block["type"] not in CALLS or block["id"] in answered]


def _finish(block: dict[str, Any], prompt: Prompt, signer: Signer) -> dict[str, Any]:
    """Sign what is signed, and hide what is not to be shown."""
    hidden = block.get("thinking", prompt.question)
    if block["type"] == "thinking" and prompt.body["thinking"].get("display") == "omitted":
        block = block | {"thinking": ""}
    if block["type"] == FUTURE_BLOCK:
        block = block | {FUTURE_FIELD: ODD_JSON}
    sealed: dict[str, Any] = signer.seal(block, hidden)
    return sealed


def _usage(prompt: Prompt, output: int, thinking: int) -> dict[str, Any]:
    """Return the tokens by kind. What is marked is read from the cache once the prompt has an earlier answer."""
    tokens = count_prompt(prompt.body)
    again = any(message["role"] == "assistant" for message in prompt.body["messages"])
    written = 0 if again else tokens.cached
    return {
        "input_tokens": tokens.total - tokens.cached,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": tokens.cached - written,
        "cache_creation": {f"ephemeral_{ttl}_input_tokens": written * (ttl == tokens.ttl) for ttl in ("5m", "1h")},
        "output_tokens": output,
        "output_tokens_details": {"thinking_tokens": thinking},
        "server_tool_use": None,
        "service_tier": "standard",
    }
