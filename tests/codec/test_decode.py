"""JSON to message, and that nothing is lost on the way."""

from __future__ import annotations

import json

import pytest

from claude_grpc.codec import Decoder
from claude_grpc.errors import UpstreamProtocolError
from claude_grpc.v1.messages_pb2 import (
    ROLE_ASSISTANT,
    STOP_REASON_END_TURN,
    STOP_REASON_UNSPECIFIED,
    AssistantMessage,
    StreamMessageResponse,
)

EVENTS = Decoder(StreamMessageResponse)
MESSAGES = Decoder(AssistantMessage)


def block(text: str) -> AssistantMessage:
    return MESSAGES.decode(f'{{"content":[{text}]}}'.encode())


def test_a_text_delta_is_typed_through_and_through() -> None:
    event = EVENTS.decode(b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}  }')
    assert event == StreamMessageResponse(
        type="content_block_delta",
        content_block_delta={"index": 0, "delta": {"type": "text_delta", "text_delta": {"text": "a"}}},  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("data", "arm"),
    [
        ('{"type":"message_start","message":{"content":[]}}', "message_start"),
        ('{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}', "content_block_start"),
        ('{"type":"content_block_stop","index":1}', "content_block_stop"),
        ('{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}', "message_delta"),
        ('{"type":"message_stop"}', "message_stop"),
        ('{"type":"ping"}', "ping"),
        ('{"type":"x_future","a":[1.0]}', "opaque_json"),
        ('{"no":"type"}', "opaque_json"),
        ('{"type":"content_block_stop"}', "opaque_json"),
    ],
)
def test_each_event_has_its_arm(data: str, arm: str) -> None:
    event = EVENTS.decode(data.encode())
    assert event.WhichOneof("event") == arm
    assert event.type == json.loads(data).get("type", "")
    if arm == "opaque_json":
        assert event.opaque_json == data


def test_an_unknown_block_is_kept_byte_by_byte_with_its_type() -> None:
    text = '{"type":"x_future" , "v": 1.0, "n":12345678901234567890,"e":"\\u00e9"}'
    [found] = block(text).content
    assert (found.type, found.opaque_json) == ("x_future", text)


def test_unknown_members_of_a_known_block_are_kept_byte_by_byte() -> None:
    [found] = block('{"type":"text","text":"a","new":{ "b" : 1.50 },"n":null}').content
    assert found.text.text == "a"
    assert found.text.extra_json == '{"new":{ "b" : 1.50 },"n":null}'


def test_tool_input_keeps_claudes_own_spelling() -> None:
    [found] = block('{"type":"tool_use","id":"i","name":"n","input":{ "a" : 1.0, "z":"\\u00e9" }}').content
    assert found.tool_use.input_json == '{ "a" : 1.0, "z":"\\u00e9" }'


@pytest.mark.parametrize("value", ["null", "5", '["a",5]', "{}", '[{"type":"char_location"},5]', '""'])
def test_a_value_of_another_kind_stays_json(value: str) -> None:
    [found] = block(f'{{"type":"text","text":"a","citations":{value}}}').content
    assert found.text.extra_json == f'{{"citations":{value}}}'
    assert not found.text.citations


@pytest.mark.parametrize("value", ["99999999999999999999", "1.0", "1e2", '"5"', "true", "null"])
def test_a_number_that_no_field_can_hold_stays_json(value: str) -> None:
    message = MESSAGES.decode(f'{{"usage":{{"input_tokens":{value},"output_tokens":7}}}}'.encode())
    assert message.usage.extra_json == f'{{"input_tokens":{value}}}'
    assert message.usage.output_tokens == 7


def test_a_lone_surrogate_stays_as_it_was_written() -> None:
    message = block('{"type":"text","text":"\\ud83d","x":["\\udc00", 1.0]},{"type":"text","text":"fine"}')
    assert message.content[0].text.extra_json == '{"text":"\\ud83d","x":["\\udc00", 1.0]}'
    assert message.content[1].text.text == "fine"


def test_a_known_stop_reason_has_its_value_and_its_word() -> None:
    message = MESSAGES.decode(b'{"stop_reason":"end_turn","role":"assistant"}')
    assert (message.stop_reason, message.stop_reason_raw) == (STOP_REASON_END_TURN, "end_turn")
    assert message.role == ROLE_ASSISTANT


def test_a_new_stop_reason_has_its_word() -> None:
    message = MESSAGES.decode(b'{"stop_reason":"x_future"}')
    assert (message.stop_reason, message.stop_reason_raw) == (STOP_REASON_UNSPECIFIED, "x_future")


def test_null_is_told_from_absent() -> None:
    assert MESSAGES.decode(b'{"stop_reason":null,"stop_sequence":null}').extra_json == (
        '{"stop_reason":null,"stop_sequence":null}'
    )
    assert MESSAGES.decode(b"{}").extra_json == ""


def test_a_cache_mark_of_another_type_stays_json() -> None:
    [found] = block('{"type":"text","text":"a","cache_control":{"type":"eternal"}}').content
    assert not found.text.HasField("cache_control")
    assert found.text.extra_json == '{"cache_control":{"type":"eternal"}}'


def test_base64_that_is_not_canonical_stays_json() -> None:
    [found] = block(
        '{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AP8="}},'.rstrip(",")
    ).content
    assert found.image.source.base64.data == b"\x00\xff"
    [found] = block('{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AP8"}}').content
    assert found.image.source.base64.extra_json == '{"data":"AP8"}'


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[1]", b"5", b'{"a":NaN}', b'{"a":"\xff"}x', b"{" * 5000, b'{"type":"\xff"}']
)
def test_what_is_no_json_object_is_an_error_of_upstream(text: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        EVENTS.decode(text)
