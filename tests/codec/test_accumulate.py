"""Events of every kind, in every order, come to the message they tell of."""

from __future__ import annotations

import json
from typing import Any

import pytest

from claude_grpc.codec import Decoder, Encoder, MessageAccumulator, Violations
from claude_grpc.v1.content_pb2 import ContentBlock
from claude_grpc.v1.messages_pb2 import AssistantMessage, StreamMessageResponse
from support.json_values import parse

_decoder = Decoder(StreamMessageResponse)
_encoder = Encoder(AssistantMessage.DESCRIPTOR)

START: dict[str, Any] = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": 1, "service_tier": "standard", "server_tool_use": None},
    },
}
TEXT = {"type": "text", "text": ""}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "t", "input": {}}


def started(index: int, block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def changed(usage: Any = None, event: Any = None, **fields: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": fields, "usage": usage or {}, **(event or {})}


def gather(*events: Any) -> MessageAccumulator:
    """The state after the events, each a JSON value or JSON text."""
    whole = MessageAccumulator()
    for event in events:
        whole.add(_decoder.decode((event if isinstance(event, str) else json.dumps(event)).encode()))
    return whole


def value_of(whole: MessageAccumulator) -> Any:
    violations = Violations()
    encoded = _encoder.encode(whole.message, violations)
    violations.raise_if_any()
    return parse(encoded)


def content_of(*events: Any) -> Any:
    return value_of(gather(START, *events))["content"]


def test_nothing_comes_to_an_empty_message() -> None:
    whole = MessageAccumulator()
    assert whole.message == AssistantMessage()
    assert not whole.has_begun


def test_text_and_thinking_are_appended_and_a_signature_replaces() -> None:
    events = [
        started(0, {"type": "thinking", "thinking": "", "signature": ""}),
        delta(0, "thinking_delta", thinking="I "),
        delta(0, "thinking_delta", thinking="think."),
        delta(0, "signature_delta", signature="first"),
        delta(0, "signature_delta", signature="last"),
        started(1, {"type": "text", "text": "So "}),
        delta(1, "text_delta", text="it "),
        delta(1, "text_delta", text="“is”\n."),
    ]
    assert content_of(*events) == [
        {"type": "thinking", "thinking": "I think.", "signature": "last"},
        {"type": "text", "text": "So it “is”\n."},
    ]


def test_a_block_without_deltas_stays_as_it_began() -> None:
    block = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    assert content_of(started(0, block)) == [block]


@pytest.mark.parametrize("start", [[], None, ..., [{"type": "old"}]])
def test_citations_are_added_to_those_that_are_there(start: Any) -> None:
    block = TEXT if start is ... else TEXT | {"citations": start}
    new = [{"type": "char_location", "cited_text": "a"}, {"type": "future_location", "x": 1}]
    events = [delta(0, "citations_delta", citation=citation) for citation in new]
    found = content_of(started(0, block), *events)
    before = start if isinstance(start, list) else []
    assert found == [TEXT | {"citations": parse(json.dumps(before + new))}]


@pytest.mark.parametrize("kind", ["tool_use", "server_tool_use", "mcp_tool_use", "future_tool_use"])
def test_the_input_of_a_tool_keeps_its_bytes(kind: str) -> None:
    text = '{"z" : 1.0 ,"a":12345678901234567890, "e":"\\u00e9"}'
    start = started(0, CALL | {"type": kind, "server_name": "library"})
    pieces = [delta(0, "input_json_delta", partial_json=piece) for piece in ("", text[:9], text[9:])]
    block = gather(START, start, *pieces).message.content[0]
    assert f'"input":{text}' in Encoder(ContentBlock.DESCRIPTOR).encode(block, Violations()).decode()


def test_without_a_piece_the_input_is_what_it_was() -> None:
    assert content_of(started(0, CALL), delta(0, "input_json_delta", partial_json="")) == [CALL]


@pytest.mark.parametrize("cut", ['{"city":"cit', "{", '{"a":1}}', "[" * 100_000])
def test_an_input_that_was_cut_is_kept_as_far_as_it_came(cut: str) -> None:
    event = delta(0, "input_json_delta", partial_json=cut)
    block = gather(START, started(0, CALL | {"more": 1}), event).message.content[0]
    assert (block.tool_use.name, block.tool_use.input_json) == ("t", cut)
    assert block.tool_use.extra_json == '{"more":1}'
    unknown = CALL | {"type": "future_tool_use"}
    assert content_of(started(0, unknown), event) == [unknown | {"input": cut}]


def test_the_members_of_a_compaction_are_replaced() -> None:
    block = {"type": "compaction", "content": None, "encrypted_content": None, "signature": "s"}
    content = {"content": "We spoke.", "encrypted_content": "e"}
    assert content_of(started(0, block), delta(0, "compaction_delta", **content)) == [block | content]
    kept = delta(0, "compaction_delta", content=None)
    assert content_of(started(0, block | content), kept) == [block | content]
    assert content_of(started(0, block), kept) == [block]


def test_a_surrogate_pair_that_two_deltas_share_is_whole_again() -> None:
    halves = [
        '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\\ud83d"}}',
        '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\\ude00b"}}',
    ]
    assert content_of(started(0, TEXT), *halves) == [{"type": "text", "text": "a😀b"}]
    assert content_of(started(0, TEXT), halves[0]) == [{"type": "text", "text": "a\ud83d"}]


def test_half_of_a_surrogate_pair_in_an_input_stays_an_escape_or_becomes_one() -> None:
    piece = r'{"type":"input_json_delta","partial_json":"{\"a\":\"\ud83d\"}"}'
    raw = f'{{"type":"content_block_delta","index":0,"delta":{piece}}}'
    assert content_of(started(0, CALL), raw) == [CALL | {"input": {"a": "\ud83d"}}]


def test_blocks_may_be_written_at_the_same_time() -> None:
    events = [
        started(0, TEXT),
        started(1, CALL),
        delta(1, "input_json_delta", partial_json='{"a":'),
        delta(0, "text_delta", text="Hi"),
        delta(1, "input_json_delta", partial_json="true}"),
        {"type": "content_block_stop", "index": 1},
        delta(0, "text_delta", text="!"),
    ]
    assert content_of(*events) == [{"type": "text", "text": "Hi!"}, CALL | {"input": {"a": True}}]


def test_blocks_stand_by_their_index_also_with_gaps_and_out_of_order() -> None:
    events = [
        started(5, TEXT),
        started(2, TEXT),
        delta(5, "text_delta", text="last"),
        delta(2, "text_delta", text="first"),
    ]
    assert [block["text"] for block in content_of(*events)] == ["first", "last"]


def test_of_blocks_that_share_an_index_none_is_lost() -> None:
    events = [started(0, TEXT), delta(0, "text_delta", text="a"), started(0, TEXT), delta(0, "text_delta", text="b")]
    assert [block["text"] for block in content_of(*events)] == ["a", "b"]


UNMERGED = [
    ("future_delta", delta(0, "future_delta", text="x")),
    ("text_delta", delta(7, "text_delta", text="x")),
    ("thinking_delta", delta(0, "thinking_delta", thinking="x")),
    ("input_json_delta", delta(0, "input_json_delta", partial_json="{}")),
    ("text_delta", delta(0, "text_delta", text=None)),
    ("text_delta", delta(0, "text_delta")),
    ("citations_delta", delta(0, "citations_delta")),
    ("", {"type": "content_block_delta", "index": 0}),
]


@pytest.mark.parametrize(("kind", "event"), UNMERGED)
def test_a_delta_without_a_rule_or_a_place_changes_nothing_and_is_told(kind: str, event: Any) -> None:
    whole = gather(START, started(0, TEXT), event)
    assert value_of(whole)["content"] == [TEXT]
    assert whole.unmerged == {kind}


def test_known_deltas_of_an_unknown_block_are_merged_if_it_has_their_key() -> None:
    block = {"type": "future_block", "text": None, "more": 1}
    assert content_of(started(0, block), delta(0, "text_delta", text="Hi")) == [
        {"type": "future_block", "text": "Hi", "more": ("number", 1)}
    ]


def test_a_start_without_a_block_is_none() -> None:
    whole = gather(START, {"type": "content_block_start", "index": 0}, delta(0, "text_delta", text="Hi"))
    assert value_of(whole)["content"] == []
    assert whole.unmerged == {"text_delta"}


def test_a_change_of_the_message_is_laid_over_it_wherever_it_stands() -> None:
    edits = {"context_management": {"applied_edits": []}, "future": 1.0}
    change = changed({"output_tokens": 9}, edits, stop_reason="end_turn", container={"id": "c"}, stop_details=None)
    message = value_of(gather(START, change))
    expected = START["message"] | {
        "stop_reason": "end_turn",
        "stop_details": None,
        "container": {"id": "c"},
        **edits,
        "usage": START["message"]["usage"] | {"output_tokens": 9},
    }
    assert message == parse(json.dumps(expected))


def test_usage_counts_are_totals_and_null_takes_nothing_away() -> None:
    first = changed({"output_tokens": 5, "server_tool_use": {"web_search_requests": 1}, "iterations": []})
    last = changed(
        {"output_tokens": 9, "input_tokens": None, "server_tool_use": None, "speed": None, "cache_creation": {}},
        stop_reason="tool_use",
    )
    usage = value_of(gather(START, first, changed(stop_reason="end_turn"), last, changed(stop_reason=None)))
    assert usage["stop_reason"] == "tool_use"
    assert usage["usage"] == parse(
        '{"input_tokens":7,"output_tokens":9,"service_tier":"standard","server_tool_use":{"web_search_requests":1},'
        '"iterations":[],"speed":null,"cache_creation":{}}'
    )


def test_a_message_without_usage_gets_that_of_its_change() -> None:
    start = {"type": "message_start", "message": {"content": []}}
    assert value_of(gather(start, changed({"output_tokens": 3})))["usage"] == {"output_tokens": ("number", 3)}


@pytest.mark.parametrize(
    ("to", "model"), [({"model": "claude-b"}, "claude-b"), ({}, "claude-opus-5"), (None, "claude-opus-5")]
)
def test_after_a_fallback_the_message_is_the_other_models(to: Any, model: str) -> None:
    block = {"type": "fallback", "from": {"model": "claude-opus-5"}, "to": to}
    assert value_of(gather(START, started(0, block)))["model"] == model


def test_only_the_first_start_counts_and_its_content_comes_first() -> None:
    start = START | {"message": START["message"] | {"content": [TEXT]}}
    other = START | {"message": START["message"] | {"id": "msg_2"}}
    message = value_of(gather(start, started(0, CALL), other))
    assert (message["id"], [block["type"] for block in message["content"]]) == ("msg_1", ["text", "tool_use"])


def test_events_are_not_changed_and_the_message_can_be_read_at_any_time() -> None:
    whole = gather(START, started(0, TEXT))
    event = _decoder.decode(json.dumps(delta(0, "text_delta", text="Hi")).encode())
    before = event.SerializeToString(deterministic=True)
    whole.add(event)
    assert [block.text.text for block in whole.message.content] == ["Hi"]
    whole.add(event)
    assert [block.text.text for block in whole.message.content] == ["HiHi"]
    assert event.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("kind", ["ping", "message_stop", "future_event"])
def test_other_events_change_nothing(kind: str) -> None:
    assert value_of(gather(START, {"type": kind})) == value_of(gather(START))
