"""Recorded streams decode to the events and the message that are written down beside them.

A stream ``NAME.sse`` was recorded from the simulator; ``NAME.events.txtpb`` has its events, one a line, and
``NAME.message.txtpb`` the message they come to. `make golden` records and writes all of them anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

from claude_grpc.codec import Decoder, MessageAccumulator
from claude_grpc.simulator.faults import distort
from claude_grpc.simulator.messages import build_answer
from claude_grpc.simulator.prompt import read_prompt
from claude_grpc.simulator.signing import Signer
from claude_grpc.simulator.stream import events, frame
from claude_grpc.upstream import SSEDecoder
from claude_grpc.v1.messages_pb2 import AssistantMessage, StreamMessageResponse

FOLDER = Path(__file__).parent / "streams"
UPDATE = os.environ.get("CLAUDE_GRPC_TEST_UPDATE_GOLDEN") == "1"

THINKING = {"thinking": {"type": "adaptive"}}
TOOL = {"name": "t", "input_schema": {"type": "object"}}
RECORDED: dict[str, dict[str, Any]] = {
    "text_cited": {"text": "Why? [[answer citations, diagnostics]]"},
    "thinking_and_tools": {"text": "Call the tools. [[redacted-thinking]] [[tool-input]]", "tools": [TOOL], **THINKING},
    "server_tools": {"text": "Why? [[answer web_search_from_code, web_fetch, editor_view, tool_search, mcp]]"},
    "compacted_and_fallen_back": {
        "text": "Why? [[answer compaction, fallback, container, context_management, input_transformations, usage]]"
    },
    "refused": {"text": "Why? [[answer refusal]]"},
    "not_known_yet": {
        "text": "Why? [[unknown-block]] [[unknown-delta]] [[unknown-event]] [[unknown-stop-reason]] [[extra-field]]"
    },
}

_decoder = Decoder(StreamMessageResponse)


def record(text: str, **fields: Any) -> bytes:
    """The simulator's stream for a question."""
    message = {"role": "user", "content": text}
    body = {"model": "claude-opus-5-5", "max_tokens": 4000, "messages": [message], **fields}
    prompt = read_prompt(json.dumps(body).encode())
    answer = build_answer(prompt, Signer(b"golden", "claude-opus-5-5"))
    stream = events(answer, unknown_delta="unknown-delta" in prompt.directives)
    return b"".join(frame(*item[::-1]) for item in enumerate(distort(stream, prompt.directives, "req_golden")))


def decode(stream: bytes) -> tuple[list[StreamMessageResponse], AssistantMessage]:
    decoder = SSEDecoder()
    decoded = [_decoder.decode(event.data) for event in (*decoder.feed(stream), *decoder.end())]
    whole = MessageAccumulator()
    for event in decoded:
        whole.add(event)
    return decoded, whole.message


def update(name: str) -> None:
    stream = record(**RECORDED[name])
    decoded, message = decode(stream)
    lines = [text_format.MessageToString(event, as_utf8=True, as_one_line=True).strip() + "\n" for event in decoded]
    (FOLDER / f"{name}.sse").write_bytes(stream)
    (FOLDER / f"{name}.events.txtpb").write_text("".join(lines))
    (FOLDER / f"{name}.message.txtpb").write_text(text_format.MessageToString(message, as_utf8=True))


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_stream_decodes_to_what_is_written_down(name: str) -> None:
    if UPDATE:
        update(name)
    decoded, message = decode((FOLDER / f"{name}.sse").read_bytes())
    lines = (FOLDER / f"{name}.events.txtpb").read_text().splitlines()
    assert decoded == [text_format.Parse(line, StreamMessageResponse()) for line in lines]
    assert message == text_format.Parse((FOLDER / f"{name}.message.txtpb").read_text(), AssistantMessage())


def test_every_file_belongs_to_a_stream() -> None:
    assert {path.name.split(".")[0] for path in FOLDER.iterdir()} == set(RECORDED)
