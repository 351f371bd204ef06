from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from claude_grpc.v1 import content_pb2, messages_pb2
from claude_grpc_client.messages import build_request, build_stream_request, turn, user

TEXT = content_pb2.ContentBlock(text=content_pb2.TextBlock(text="and this"))
ANSWER = messages_pb2.AssistantMessage(
    id="msg_1",
    role=messages_pb2.ROLE_ASSISTANT,
    content=[
        content_pb2.ContentBlock(
            type="thinking", thinking=content_pb2.ThinkingBlock(thinking="", signature="c2ln", extra_json='{"a":1.0}')
        ),
        content_pb2.ContentBlock(type="newer_block", opaque_json='{"type":"newer_block", "n":1.0}'),
    ],
)


def create(params: messages_pb2.MessageParams | None = None, **fields: Any) -> messages_pb2.CreateMessageRequest:
    return build_request(messages_pb2.CreateMessageRequest, params, fields)


def test_keyword_arguments_are_fields_of_the_params_and_of_the_request() -> None:
    request = create(model="m", max_tokens=5, messages=[user("Hi")], betas=["a", "b"], anthropic_version="2023-06-01")
    assert request == messages_pb2.CreateMessageRequest(
        params=messages_pb2.MessageParams(
            model="m",
            max_tokens=5,
            messages=[messages_pb2.InputMessage(role=messages_pb2.ROLE_USER, text="Hi")],
        ),
        betas=["a", "b"],
        anthropic_version="2023-06-01",
    )


def test_ready_params_are_taken_as_they_are() -> None:
    params = messages_pb2.MessageParams(model="m", extra_json='{"x":1.0}')
    request = create(params, betas=["a"])
    assert request.params == params
    assert list(request.betas) == ["a"]


def test_a_turn_may_be_a_message_an_answer_or_a_pair() -> None:
    request = create(messages=[user("Hi"), ANSWER, ("user", "you"), ("system", [TEXT])])
    assert list(request.params.messages) == [
        messages_pb2.InputMessage(role=messages_pb2.ROLE_USER, text="Hi"),
        messages_pb2.InputMessage(role=messages_pb2.ROLE_ASSISTANT, content=ANSWER.content),
        messages_pb2.InputMessage(role=messages_pb2.ROLE_USER, text="you"),
        messages_pb2.InputMessage(role=messages_pb2.ROLE_SYSTEM, content=[TEXT]),
    ]


def test_a_users_turn_is_one_text_or_blocks() -> None:
    assert user("Hi") == messages_pb2.InputMessage(role=messages_pb2.ROLE_USER, text="Hi")
    look_at = content_pb2.ContentBlock(text=content_pb2.TextBlock(text="Look at"))
    assert user("Look at", TEXT) == messages_pb2.InputMessage(role=messages_pb2.ROLE_USER, content=[look_at, TEXT])


def test_an_answer_goes_back_with_all_it_has_even_fields_newer_than_the_stubs() -> None:
    # Field 15 of a ContentBlock, which these stubs do not know, with the value 1.
    newer = content_pb2.ContentBlock.FromString(TEXT.SerializeToString() + b"\x78\x01")
    answer = messages_pb2.AssistantMessage(role=messages_pb2.ROLE_ASSISTANT, content=[*ANSWER.content, newer])
    assert [block.SerializeToString() for block in turn(answer).content] == [
        block.SerializeToString() for block in answer.content
    ]


def test_a_stream_asks_for_the_final_message() -> None:
    request = build_stream_request(None, {"model": "m", "betas": ["a"]})
    assert request.stream_options.include_final_message
    assert request.params.model == "m"
    assert list(request.betas) == ["a"]


def test_a_stream_asks_for_the_final_message_beside_what_the_caller_wants_of_it() -> None:
    options = messages_pb2.StreamOptions(window=timedelta(milliseconds=20))
    request = build_stream_request(None, {"stream_options": options})
    assert request.stream_options.include_final_message
    assert request.stream_options.window.ToMilliseconds() == 20


def test_params_and_their_fields_are_refused_together() -> None:
    with pytest.raises(TypeError, match="Set max_tokens, messages in params"):
        create(messages_pb2.MessageParams(), max_tokens=1, messages=[])


@pytest.mark.parametrize("name", ["betas", "messages", "stop_sequences", "system", "tools"])
def test_a_text_is_no_list(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} takes a list, not a text"):
        build_request(messages_pb2.CreateMessageRequest, None, {name: "text"})


def test_a_field_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no_such_field"):
        create(no_such_field=1)


def test_a_role_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="ROLE_WIZARD"):
        create(messages=[("wizard", "Hi")])


def test_what_is_no_turn_is_refused() -> None:
    with pytest.raises(TypeError, match="not str"):
        create(messages=["Hi"])
