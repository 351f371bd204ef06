"""JSON to message, and that nothing is lost on the way."""

from __future__ import annotations

import json

import pytest

from claude_grpc.codec import Decoder
from claude_grpc.errors import UpstreamProtocolError
from claude_grpc.v1.content_pb2 import TextBlock
from claude_grpc.v1.messages_pb2 import (
    ROLE_ASSISTANT,
    STOP_REASON_END_TURN,
    STOP_REASON_UNSPECIFIED,
    AssistantMessage,
    StreamMessageResponse,
)
from claude_grpc.v1.tools_pb2 import Tool

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


def test_an_empty_value_that_its_field_could_not_tell_from_none_stays_json() -> None:
    message = MESSAGES.decode(b'{"content":[],"id":"","model":""}')
    assert (message.id, message.model, message.extra_json) == ("", "", '{"id":"","model":""}')


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


@pytest.mark.parametrize("mark", ["{}", '{"ttl":"1h"}', '{"type":"eternal"}', '{"type":null}'])
def test_a_cache_mark_of_no_known_type_stays_json(mark: str) -> None:
    text = Decoder(TextBlock).decode(f'{{"text":"a","cache_control":{mark}}}'.encode())
    assert text == TextBlock(text="a", extra_json=f'{{"cache_control":{mark}}}')


def test_base64_that_is_not_canonical_stays_json() -> None:
    [found] = block(
        '{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AP8="}},'.rstrip(",")
    ).content
    assert found.image.source.base64.data == b"\x00\xff"
    [found] = block('{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AP8"}}').content
    assert found.image.source.base64.extra_json == '{"data":"AP8"}'


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[1]",
        b"5",
        b'{"a":NaN}',
        b"{1:2}",
        b"{} {}",
        b'{"a":"\\ud800","b":[1,]}',
        b'{"a":"\\ud800"}}',
        b'{"a":"\\ud800" 1}',
        b'{"a":"\xff"}x',
        b"{" * 5000,
        b'{"a":' + b"[" * 100_000,
        b'{"type":"ping","a":' + b"[" * 100_000,
        b'{"type":"\xff"}',
    ],
)
def test_what_is_no_json_object_is_an_error_of_upstream(text: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        EVENTS.decode(text)


def test_a_result_and_a_failure_that_share_a_key_have_their_fields() -> None:
    [found] = block(
        '{"type":"web_search_tool_result","tool_use_id":"s","content":[{"type":"web_search_result","title":"t","url":"u",'
        '"encrypted_content":"e"}],"caller":{"type":"code_execution_20260120","tool_id":"c"}}'
    ).content
    result = found.web_search_tool_result
    assert (result.content[0].url, result.caller.type, result.caller.code_execution.tool_id) == (
        "u",
        "code_execution_20260120",
        "c",
    )
    [failed] = block(
        '{"type":"web_search_tool_result","tool_use_id":"s",'
        '"content":{"type":"web_search_tool_result_error","error_code":"query_too_long"}}'
    ).content
    assert failed.web_search_tool_result.failure.error_code == "query_too_long"
    [empty] = block('{"type":"web_search_tool_result","tool_use_id":"s","content":[]}').content
    assert empty.web_search_tool_result.extra_json == ""


def test_a_tool_of_any_date_is_typed() -> None:
    text = '{"type":"web_search_20990101","name":"web_search","new":1}'
    tool = Decoder(Tool).decode(text.encode())
    assert (tool.type, tool.web_search.name, tool.web_search.extra_json) == (
        "web_search_20990101",
        "web_search",
        '{"new":1}',
    )
    assert Decoder(Tool).decode(b'{"type":"web_search","name":"web_search"}').opaque_json


def test_members_that_are_objects_by_name_keep_their_order() -> None:
    text = b'{"type":"browser_toolset_20260801","configs":{"zoom":{"enabled":true},"find":{},"a":{"x":1}}}'
    configs = Decoder(Tool).decode(text).browser_toolset.configs
    assert [config.name for config in configs] == ["zoom", "find", "a"]
    assert configs[2].extra_json == '{"x":1}'


@pytest.mark.parametrize("configs", ["null", "{}", '{"zoom":null}', '{"":{}}', "[]"])
def test_members_that_no_list_can_hold_stay_json(configs: str) -> None:
    text = f'{{"type":"browser_toolset_20260801","configs":{configs}}}'
    toolset = Decoder(Tool).decode(text.encode()).browser_toolset
    assert not toolset.configs
    assert toolset.extra_json == f'{{"configs":{configs}}}'


@pytest.mark.parametrize("number", ["2147483648", "12345678901234567890", "1.0", "null"])
def test_an_index_that_no_field_can_hold_stays_json(number: str) -> None:
    event = EVENTS.decode(f'{{"type":"content_block_stop","index":{number}}}'.encode())
    assert event.content_block_stop.extra_json == f'{{"index":{number}}}'


def test_a_type_that_is_no_string_makes_the_object_opaque() -> None:
    event = EVENTS.decode(b'{"type":5}')
    assert (event.type, event.opaque_json) == ("", '{"type":5}')
