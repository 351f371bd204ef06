"""Message to JSON bytes."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import pytest

from claude_grpc.codec import Encoder, Violations
from claude_grpc.errors import InvalidRequestError
from claude_grpc.v1.cache_pb2 import CacheControl
from claude_grpc.v1.content_pb2 import (
    ContentBlock,
    DocumentBlock,
    DocumentSource,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from claude_grpc.v1.context_pb2 import ClearThinking, ClearToolUses, ContextAmount, ContextEdit, ContextManagement
from claude_grpc.v1.mcp_pb2 import McpToolset, ToolConfig
from claude_grpc.v1.media_pb2 import Base64Source, ImageBlock, ImageSource
from claude_grpc.v1.messages_pb2 import (
    ROLE_ASSISTANT,
    ROLE_SYSTEM,
    ROLE_USER,
    Fallback,
    InputMessage,
    MessageParams,
    ThinkingConfig,
)
from claude_grpc.v1.params_pb2 import Container, OutputConfig
from claude_grpc.v1.tool_families_pb2 import BashTool, ComputerToolset, ToolSearchTool
from claude_grpc.v1.tools_pb2 import CustomTool, Tool, ToolChoice, ToolChoiceAny
from claude_grpc.v1.web_tools_pb2 import WebSearchTool

PARAMS = Encoder(MessageParams.DESCRIPTOR)
COUNTING = Encoder(MessageParams.DESCRIPTOR, counting=True)


def params(**fields: object) -> MessageParams:
    filled: dict[str, object] = {
        "model": "m",
        "max_tokens": 5,
        "messages": [InputMessage(role=ROLE_USER, text="hi")],
        **fields,
    }
    return MessageParams(**filled)  # type: ignore[arg-type]


def blocks(*content: ContentBlock) -> MessageParams:
    return params(messages=[InputMessage(role=ROLE_USER, content=content)])


def encode(message: MessageParams, encoder: Encoder = PARAMS) -> bytes:
    violations = Violations()
    body = encoder.encode(message, violations, path="params")
    violations.raise_if_any()
    return body


def violations_of(message: MessageParams) -> dict[str, str]:
    with pytest.raises(InvalidRequestError) as caught:
        encode(message)
    return {violation.field: violation.description for violation in caught.value.violations}


def test_keys_come_in_the_order_of_declaration_and_the_conversation_last() -> None:
    body = encode(params(temperature=0.7, system_text="s", stop_sequences=["a"], extra_json='{"z":1,"a":2}'))
    assert body == (
        b'{"model":"m","max_tokens":5,"system":"s","stop_sequences":["a"],"temperature":0.7,"z":1,"a":2,'
        b'"messages":[{"role":"user","content":"hi"}]}'
    )


def test_a_longer_conversation_begins_with_the_bytes_of_the_shorter_one() -> None:
    short = encode(params(extra_json='{"x":1}'))
    more = [InputMessage(role=ROLE_USER, text="hi"), InputMessage(role=ROLE_ASSISTANT, text="yes")]
    assert encode(params(extra_json='{"x":1}', messages=more)).startswith(short.removesuffix(b"]}"))


def test_members_of_the_callers_side_come_first() -> None:
    violations = Violations()
    assert PARAMS.encode(params(), violations, first=b'"stream":true').startswith(b'{"stream":true,"model":"m"')


@pytest.mark.parametrize(
    "text",
    ['{"a":1.0}', '{"n":12345678901234567890}', '{"e":"\\u00e9\\ud800"}', '{ "z" : 1 , "a" : [ 1e400 ] }', "{}"],
)
def test_free_form_json_is_spliced_byte_by_byte(text: str) -> None:
    tool = Tool(custom=CustomTool(name="t", input_schema_json=text, input_examples_json=[text, text]))
    use = ContentBlock(tool_use=ToolUseBlock(id="i", name="t", input_json=text))
    body = encode(params(tools=[tool], messages=[InputMessage(role=ROLE_ASSISTANT, content=[use])])).decode()
    assert f'"input_schema":{text},"input_examples":[{text},{text}]' in body
    assert f'"input":{text}' in body


def test_opaque_blocks_and_tools_are_spliced_byte_by_byte() -> None:
    block = '{"type" : "x_future", "v": 1.50}'
    tool = '{"type":"x_20260318","name":"x", "max_uses": 3}'
    body = encode(
        params(
            tools=[Tool(opaque_json=tool)],
            messages=[InputMessage(role=ROLE_USER, content=[ContentBlock(type="x_future", opaque_json=block)])],
        )
    ).decode()
    assert f'"tools":[{tool}]' in body
    assert f'"content":[{block}]' in body


def test_bytes_go_out_as_base64_and_text_as_utf8() -> None:
    image = ImageBlock(source=ImageSource(base64=Base64Source(media_type="image/png", data=b"\x00\xff\x10")))
    body = encode(blocks(ContentBlock(image=image), ContentBlock(text=TextBlock(text='é"\n😀'))))
    assert '{"type":"text","text":"é\\"\\n😀"}'.encode() in body
    assert b'"source":{"type":"base64","media_type":"image/png","data":"AP8Q"}' in body


def test_what_has_presence_is_written_also_when_it_is_zero() -> None:
    result = ContentBlock(tool_result=ToolResultBlock(tool_use_id="i", text="", is_error=False))
    body = encode(
        MessageParams(model="m", max_tokens=0, top_k=0, messages=[InputMessage(role=ROLE_USER, content=[result])])
    )
    assert b'"max_tokens":0,"top_k":0' in body
    assert b'{"type":"tool_result","tool_use_id":"i","content":"","is_error":false}' in body


def test_an_empty_thinking_block_with_a_signature_stays_one() -> None:
    body = encode(blocks(ContentBlock(thinking=ThinkingBlock(thinking="", signature="s"))))
    assert b'{"type":"thinking","thinking":"","signature":"s"}' in body


def test_a_constant_type_is_written_by_itself() -> None:
    body = encode(params(cache_control=CacheControl(), system=[_marked("s", "1h")]))
    assert b'"cache_control":{"type":"ephemeral"}' in body
    assert b'[{"type":"text","text":"s","cache_control":{"type":"ephemeral","ttl":"1h"}}]' in body


def _marked(text: str, ttl: str) -> ContentBlock:
    return ContentBlock(text=TextBlock(text=text, cache_control=CacheControl(ttl=ttl)))


def test_a_custom_tool_has_a_type_only_where_the_caller_gives_it() -> None:
    tool = CustomTool(name="t", input_schema_json="{}")
    body = encode(params(tools=[Tool(custom=tool), Tool(type="custom", custom=tool)]))
    assert b'"tools":[{"name":"t","input_schema":{}},{"type":"custom","name":"t","input_schema":{}}]' in body


def test_counting_leaves_out_what_only_creating_uses() -> None:
    full = params(temperature=0.5, stop_sequences=["x"], service_tier="auto", thinking=ThinkingConfig(type="disabled"))
    full.thinking.disabled.SetInParent()
    assert json.loads(encode(full, COUNTING)).keys() == {"model", "thinking", "messages"}


def test_max_tokens_is_required_to_create_and_not_to_count() -> None:
    message = params()
    message.ClearField("max_tokens")
    assert violations_of(message).keys() == {"params.max_tokens"}
    assert b"max_tokens" not in encode(message, COUNTING)


def test_extra_json_fills_in_for_a_field_that_is_required() -> None:
    message = params(extra_json='{"max_tokens": 1e3}')
    message.ClearField("max_tokens")
    assert json.loads(encode(message))["max_tokens"] == 1000


def test_a_text_that_no_field_can_hold_comes_from_extra_json() -> None:
    body = encode(blocks(ContentBlock(text=TextBlock(extra_json='{"text":"\\ud800"}'))))
    assert b'{"type":"text","text":"\\ud800"}' in body


def test_everything_that_is_wrong_is_told_at_once_with_its_path() -> None:
    message = MessageParams(
        temperature=math.nan,
        extra_json='{"model":1}',
        tools=[Tool(custom=CustomTool(name="t", input_schema_json='{"a":')), Tool()],
        tool_choice=ToolChoice(type="auto", any=ToolChoiceAny()),
        messages=[
            InputMessage(text="x"),
            InputMessage(role=ROLE_USER),
            InputMessage(role=ROLE_USER, text="x", content=[ContentBlock()]),
            InputMessage(
                role=9,  # type: ignore[arg-type]
                content=[ContentBlock(tool_result=ToolResultBlock(content=[ContentBlock(opaque_json="[1]")]))],
            ),
        ],
    )
    assert violations_of(message).keys() == {
        "params.max_tokens",
        "params.temperature",
        "params.tools[0].custom.input_schema_json",
        "params.tools[1].tool",
        "params.tool_choice.type",
        "params.messages[0].role",
        "params.messages[1].content",
        "params.messages[2].text",
        "params.messages[2].content[0].block",
        "params.messages[3].role",
        "params.messages[3].content[0].tool_result.tool_use_id",
        "params.messages[3].content[0].tool_result.content[0].opaque_json",
    }


def test_no_messages_and_no_model_are_told() -> None:
    assert violations_of(MessageParams(max_tokens=1)).keys() == {"params.model", "params.messages"}


def test_the_same_parameter_in_its_field_and_in_extra_json_is_refused() -> None:
    found = violations_of(params(temperature=0.1, extra_json='{"temperature":0.2,"top_k":1}'))
    assert found == {"params.extra_json": "Holds `temperature`, which `temperature` sets as well; set it once."}


@pytest.mark.parametrize("extra", ["[]", "{", "null", '{"a":NaN}', "x", "{" * 3000])
def test_extra_json_must_be_an_object(extra: str) -> None:
    assert violations_of(params(extra_json=extra)).keys() == {"params.extra_json"}


def test_extra_json_of_an_object_with_a_constant_type_holds_no_type() -> None:
    found = violations_of(params(cache_control=CacheControl(extra_json='{"type":"other"}')))
    assert found.keys() == {"params.cache_control.extra_json"}


@pytest.mark.parametrize(
    ("block", "path"),
    [
        (ContentBlock(type="image", text=TextBlock(text="a")), "type"),
        (ContentBlock(type="a", opaque_json='{"type":"b"}'), "type"),
        (ContentBlock(opaque_json="{"), "opaque_json"),
        (ContentBlock(tool_use=ToolUseBlock(id="i", name="n")), "tool_use.input_json"),
        (ContentBlock(tool_use=ToolUseBlock(id="i", name="n", input_json="[]")), "tool_use.input_json"),
        (ContentBlock(image=ImageBlock()), "image.source"),
        (ContentBlock(document=DocumentBlock(source=DocumentSource())), "document.source.source"),
        (
            ContentBlock(image=ImageBlock(source=ImageSource(base64=Base64Source(data=b"x")))),
            "image.source.base64.media_type",
        ),
    ],
)
def test_a_wrong_block_is_told_by_its_path(block: ContentBlock, path: str) -> None:
    assert violations_of(blocks(block)).keys() == {f"params.messages[0].content[0].{path}"}


def test_fields_of_a_newer_caller_are_refused_by_number_and_not_dropped() -> None:
    newer = blocks(ContentBlock(text=TextBlock(text="a")))
    newer.messages[0].content[0].MergeFromString(b"\xfa\x06\x01x")  # field 111, a string
    newer.thinking.enabled.MergeFromString(b"\xfa\x06\x01x")
    newer.thinking.enabled.budget_tokens = 2000
    found = violations_of(newer)
    assert found.keys() == {"params.messages[0].content[0].#111", "params.thinking.enabled.#111"}
    assert "ContentBlock has no field 111" in found["params.messages[0].content[0].#111"]


@pytest.mark.parametrize(
    ("tool", "written"),
    [
        (
            Tool(type="web_search_20990101", web_search=WebSearchTool(name="web_search", max_uses=3)),
            '{"type":"web_search_20990101","name":"web_search","max_uses":3}',
        ),
        (
            Tool(tool_search_regex=ToolSearchTool(name="tool_search_tool_regex")),
            '{"type":"tool_search_tool_regex","name":"tool_search_tool_regex"}',
        ),
        (
            Tool(type="tool_search_tool_bm25_20251119", tool_search_bm25=ToolSearchTool(name="tool_search_tool_bm25")),
            '{"type":"tool_search_tool_bm25_20251119","name":"tool_search_tool_bm25"}',
        ),
        (
            Tool(
                type="computer_toolset_20260801",
                computer_toolset=ComputerToolset(
                    configs=[ToolConfig(name="zoom", enabled=False), ToolConfig(name='a"b')]
                ),
            ),
            '{"type":"computer_toolset_20260801","configs":{"zoom":{"enabled":false},"a\\"b":{}}}',
        ),
    ],
)
def test_a_tool_is_written_with_the_date_it_has(tool: Tool, written: str) -> None:
    assert f'"tools":[{written}]' in encode(params(tools=[tool])).decode()


@pytest.mark.parametrize(
    ("tool", "path", "hint"),
    [
        (Tool(web_search=WebSearchTool(name="web_search")), "type", "dated, such as `web_search_20260318`,"),
        (Tool(type="web_search", web_search=WebSearchTool(name="web_search")), "type", "such as `web_search_20260318`"),
        (Tool(type="web_fetch_20260318", web_search=WebSearchTool(name="web_search")), "type", "beside `web_search`"),
        (Tool(type="x", mcp_toolset=McpToolset(mcp_server_name="s")), "type", "`mcp_toolset`, or empty, beside"),
        (Tool(type="bash_20250124", bash=BashTool()), "bash.name", "Required."),
        (
            Tool(mcp_toolset=McpToolset(mcp_server_name="s", configs=[ToolConfig(name="a"), ToolConfig(name="a")])),
            "mcp_toolset.configs[1].name",
            "`a` stands here twice.",
        ),
        (
            Tool(mcp_toolset=McpToolset(mcp_server_name="s", configs=[ToolConfig()])),
            "mcp_toolset.configs[0].name",
            "Required.",
        ),
    ],
)
def test_a_wrong_tool_is_told_by_its_path(tool: Tool, path: str, hint: str) -> None:
    [(found, description)] = violations_of(params(tools=[tool])).items()
    assert found == f"params.tools[0].{path}"
    assert hint in description


def test_a_date_that_is_another_arms_own_is_refused() -> None:
    edit = ContextEdit(type="clear_thinking_20251015", clear_tool_uses=ClearToolUses())
    found = violations_of(params(context_management=ContextManagement(edits=[edit])))
    assert found.keys() == {"params.context_management.edits[0].type"}


def test_one_key_takes_what_its_fields_can_hold() -> None:
    edits = [
        ContextEdit(clear_tool_uses=ClearToolUses(clear_tool_inputs=False)),
        ContextEdit(clear_tool_uses=ClearToolUses(clear_inputs_of_tools=["a"])),
        ContextEdit(type="clear_thinking_20990101", clear_thinking=ClearThinking(keep_preset="all")),
        ContextEdit(clear_thinking=ClearThinking(keep=ContextAmount(type="thinking_turns", value=2))),
    ]
    full = params(context_management=ContextManagement(edits=edits), container_id="c", fallbacks_preset="default")
    written = json.loads(encode(full))
    assert written["container"] == "c"
    assert written["fallbacks"] == "default"
    assert written["context_management"]["edits"] == [
        {"type": "clear_tool_uses_20250919", "clear_tool_inputs": False},
        {"type": "clear_tool_uses_20250919", "clear_tool_inputs": ["a"]},
        {"type": "clear_thinking_20990101", "keep": "all"},
        {"type": "clear_thinking_20251015", "keep": {"type": "thinking_turns", "value": 2}},
    ]


def test_a_key_is_set_once() -> None:
    found = violations_of(params(container_id="c", container=Container(id="c"), fallbacks_preset="default"))
    assert found == {"params.container_id": "Set this or `container`, not both."}


def test_null_where_it_means_something_comes_from_extra_json() -> None:
    fallback = Fallback(model="m", extra_json='{"speed":null,"output_config":null}')
    assert b'"fallbacks":[{"model":"m","speed":null,"output_config":null}]' in encode(params(fallbacks=[fallback]))


def test_a_system_turn_needs_no_content_beside_its_output_config() -> None:
    turn = InputMessage(role=ROLE_SYSTEM, output_config=OutputConfig(effort="low"))
    assert b'{"role":"system","output_config":{"effort":"low"}}' in encode(params(messages=[turn]))


def test_extra_json_of_an_arm_holds_no_type_either() -> None:
    found = violations_of(blocks(ContentBlock(text=TextBlock(text="a", extra_json='{"x":1,"type":"b"}'))))
    assert found == {
        "params.messages[0].content[0].text.extra_json": "Holds `type`, which is set without it; leave it out."
    }


def test_extra_json_may_hold_an_empty_key() -> None:
    assert b',"":1' in encode(params(extra_json='{"":1}'))


@pytest.mark.parametrize("size", [262_143, 262_144, 1_000_000])
def test_a_large_value_is_written_in_slices_with_pauses_between_them(size: int) -> None:
    pauses: list[None] = []
    encoder = Encoder(MessageParams.DESCRIPTOR, pause=lambda: pauses.append(None))
    image = b"\x00\xff\x10" * size
    tale = 'é"\n😀' * (size // 4)
    source = {"base64": {"media_type": "image/png", "data": image[:size]}}
    document = {"text": {"media_type": "text/plain", "data": tale}}
    content: Any = [{"image": {"source": source}}, {"document": {"source": document}}]
    turn = InputMessage(role=ROLE_USER, content=content)
    params = MessageParams(model="m", max_tokens=1, messages=[turn])
    written = json.loads(encoder.encode(params, Violations()))["messages"][0]["content"]
    assert base64.b64decode(written[0]["source"]["data"]) == image[:size]
    assert written[1]["source"]["data"] == tale
    slices = sum(-(-length // 262_143) for length in (size, len(tale)) if length > 262_143)
    assert slices <= len(pauses) <= 2 * slices
