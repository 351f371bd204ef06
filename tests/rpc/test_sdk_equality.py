"""The official SDK and ours, on the same requests and the same streams, come to equal messages.

Requests are written once, as JSON: the SDK sends them as they are, and for us they are decoded into the request's
message. The simulator's ids depend on every value of a request, so that equal answers also mean equal requests.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from anthropic import AsyncAnthropic, DefaultAsyncHttpxClient

from claude_grpc.codec import Decoder, Encoder, Violations
from claude_grpc.simulator import RawAnswer
from claude_grpc.simulator.block_kinds import BLOCK_KINDS
from claude_grpc.simulator.message_facts import FACTS
from claude_grpc.v1.messages_pb2 import AssistantMessage, MessageParams
from claude_grpc_client import AsyncClient
from support.json_values import parse
from support.processes import clean_environment
from support.stack import Stack, open_stack

FOLDER = Path(__file__).parents[1] / "golden" / "streams"
STREAMS = {path.stem: path.read_bytes() for path in sorted(FOLDER.glob("*.sse"))}
BETAS = ["advisor-tool-2026-03-01", "compact-2026-01-12", "mcp-client-2026-09-15", "server-side-fallback-2026-07-01"]
LONG = 21_334

THINKING = {"thinking": {"type": "adaptive"}}
TOOLS = {"tools": [{"name": name, "input_schema": {"type": "object"}} for name in ("first", "second")]}
OWN_TOOLS = [{"type": "bash_20250124", "name": "bash"}, {"type": "computer_toolset_20260801"}]
DOCUMENT = {
    "type": "document",
    "source": {"type": "text", "media_type": "text/plain", "data": "Once upon a time."},
    "citations": {"enabled": True},
}
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}

CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    **{name: (f"Why? [[answer {name}]]", THINKING) for name in (*BLOCK_KINDS, *FACTS)},
    "everything": (f"Why? [[answer {', '.join((*BLOCK_KINDS, 'container', 'usage'))}]] [[extra-field]]", THINKING),
    "plain": ("Why?", {}),
    "thinking omitted": ("Why?", {"thinking": {"type": "adaptive", "display": "omitted"}}),
    "redacted thinking": ("Why? [[redacted-thinking]]", THINKING),
    "tools": ("Call the tools. [[tool-input]]", TOOLS | THINKING),
    "tools of the API": ("Call the tools.", {"tools": OWN_TOOLS}),
    "document cited": ([DOCUMENT, {"type": "text", "text": "Who?"}], {}),
    "structured": ("Why?", {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}),
    "stop sequence": ("red green", {"stop_sequences": ["green"]}),
    "nothing": ("Why?", {"max_tokens": 0}),
    "cut": ("One two three", {"max_tokens": 5}),
    "cut among server tools": ("Why? [[answer web_search_from_code, bash]]", {"max_tokens": 6}),
    "unknown things": ("Why? [[unknown-block]] [[unknown-delta]] [[unknown-event]] [[unknown-stop-reason]]", THINKING),
    "unknown fields": ("Use the tool. [[extra-field]] [[redacted-thinking]]", TOOLS | THINKING),
}


# One gateway for all: to start one takes longer than a case.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - clean_environment().keys():
            patch.delenv(name)
        async with open_stack() as opened:
            yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sdk(stack: Stack) -> AsyncIterator[AsyncAnthropic]:
    http_client = DefaultAsyncHttpxClient(verify=False)  # what it would verify takes long to load, and is not used
    options: Any = {"base_url": stack.simulator.base_url, "max_retries": 0, "http_client": http_client}
    async with AsyncAnthropic(api_key="any", **options) as client:
        yield client


@pytest.fixture
def ours(stack: Stack) -> AsyncClient:
    return AsyncClient(channel=stack.channel)


def request(content: Any, fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": "claude-opus-5-5",
        "max_tokens": 4000,
        "messages": [{"role": "user", "content": content}],
        **fields,
    }


def params(body: dict[str, Any]) -> MessageParams:
    return Decoder(MessageParams).decode(json.dumps(body).encode())


def value(message: AssistantMessage) -> Any:
    violations = Violations()
    encoded = Encoder(AssistantMessage.DESCRIPTOR).encode(message, violations)
    violations.raise_if_any()
    return parse(encoded)


async def sdk_created(sdk: AsyncAnthropic, body: dict[str, Any]) -> Any:
    """The body of the answer, as the SDK got it."""
    response = await sdk.beta.messages.with_raw_response.create(**body, betas=BETAS, timeout=30)
    return parse(response.http_response.content)


async def sdk_streamed(sdk: AsyncAnthropic, body: dict[str, Any]) -> Any:
    async with sdk.beta.messages.stream(**body, betas=BETAS) as stream:
        message = await stream.get_final_message()
    return parse(message.to_json(warnings=False))


async def streamed(ours: AsyncClient, body: dict[str, Any]) -> AssistantMessage:
    async with ours.stream(params(body), betas=BETAS) as stream:
        return await stream.final_message()


@pytest.mark.parametrize("name", CASES)
async def test_both_come_to_the_same_message(sdk: AsyncAnthropic, ours: AsyncClient, name: str) -> None:
    body = request(*CASES[name])
    created = await sdk_created(sdk, body)
    assert value(await ours.create(params(body), betas=BETAS)) == created
    assert value(await streamed(ours, body)) == created
    assert await sdk_streamed(sdk, body) == created


@pytest.mark.parametrize("name", CASES)
async def test_a_long_answer_is_the_one_that_would_have_come_in_one_piece(
    sdk: AsyncAnthropic, ours: AsyncClient, name: str
) -> None:
    content, fields = CASES[name]
    body = request(content, {**fields, "max_tokens": LONG})
    assert value(await ours.create(params(body), betas=BETAS)) == await sdk_created(sdk, body)


@pytest.mark.parametrize("name", STREAMS)
async def test_both_come_to_the_same_message_of_a_recorded_stream(
    stack: Stack, sdk: AsyncAnthropic, ours: AsyncClient, name: str
) -> None:
    answer = RawAnswer((STREAMS[name],))
    stack.simulator.script(answer, answer)
    body = request("Why?", {})
    assert await sdk_streamed(sdk, body) == value(await streamed(ours, body))


START: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-5-5",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "stop_details": None,
    "usage": {"input_tokens": 7, "output_tokens": 1},
}
TEXT = {"type": "text", "text": ""}
COMPACTION = {"type": "compaction", "content": None, "encrypted_content": "e"}


def start(index: int, block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def change(usage: Any = None, **fields: Any) -> dict[str, Any]:
    ended = {"stop_reason": "end_turn", "stop_sequence": None, "stop_details": None}
    return {"type": "message_delta", "delta": ended | fields, "usage": {"output_tokens": 1} | (usage or {})}


# What the SDK loses and we keep: events, and where the two messages differ.
LOSSES: dict[str, tuple[list[dict[str, Any]], set[str]]] = {
    "usage that it has no line for": (
        [change({"cache_creation": {}, "speed": "fast"})],
        {"usage.cache_creation", "usage.speed"},
    ),
    "a change that it has no line for": ([change(future="x")], {"future"}),
    "what a later change leaves out": (
        [change({"output_tokens": 9}), change({"output_tokens": None}, stop_reason=None)],
        {"stop_reason", "usage.output_tokens"},
    ),
    "what a delta of a compaction leaves out": (
        [start(0, COMPACTION), delta(0, "compaction_delta", content="c")],
        {"content.0.encrypted_content"},
    ),
    "the order of blocks": ([start(1, TEXT), start(0, COMPACTION)], {"content.0", "content.1"}),
    "text of an unknown block": (
        [start(0, {"type": "future", "text": ""}), delta(0, "text_delta", text="Hi")],
        {"content.0.text"},
    ),
}


def frames(*events: dict[str, Any]) -> RawAnswer:
    whole = [{"type": "message_start", "message": START}, *events, {"type": "message_stop"}]
    return RawAnswer(tuple(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in whole))


def differences(left: Any, right: Any, path: str = "") -> Iterator[str]:
    """Paths at which two messages differ."""
    if isinstance(left, dict) and isinstance(right, dict) and left.get("type") == right.get("type"):
        for key in left.keys() | right.keys():
            yield from differences(left.get(key, ...), right.get(key, ...), f"{path}.{key}".lstrip("."))
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for number, (one, other) in enumerate(zip(left, right, strict=True)):
            yield from differences(one, other, f"{path}.{number}")
    elif left != right:
        yield path


@pytest.mark.parametrize("name", LOSSES)
async def test_what_the_sdk_loses_is_kept(stack: Stack, sdk: AsyncAnthropic, ours: AsyncClient, name: str) -> None:
    events, lost = LOSSES[name]
    stack.simulator.script(frames(*events), frames(*events))
    body = request("Why?", {})
    found = differences(await sdk_streamed(sdk, body), value(await streamed(ours, body)))
    assert set(found) == lost


async def test_of_an_input_that_was_cut_the_sdk_drops_the_end_and_we_keep_the_text(
    stack: Stack, sdk: AsyncAnthropic, ours: AsyncClient
) -> None:
    body = request('Use the tool. [[tool-input {"a": 12, "b": "c d e"}]]', TOOLS | {"max_tokens": 9})
    assert (await sdk_streamed(sdk, body))["content"][-1]["input"] == {"a": ("number", 12)}
    assert (await streamed(ours, body)).content[-1].tool_use.input_json == '{"a": 12, "b": "c d'
