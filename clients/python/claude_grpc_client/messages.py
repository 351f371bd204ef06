"""Makes request messages from what a caller has at hand.

Everything the API has is set by the field names of the protos, so nothing here has to change when a field is added.
Nothing is checked beyond what protobuf checks: the gateway does that, and names every field that is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from claude_grpc.v1.content_pb2 import ContentBlock, TextBlock
from claude_grpc.v1.messages_pb2 import (
    ROLE_USER,
    AssistantMessage,
    CountTokensRequest,
    CreateMessageRequest,
    InputMessage,
    MessageParams,
    Role,
    StreamMessageRequest,
)

__all__ = ["Turn", "build_request", "build_stream_request", "turn", "user"]

Turn: TypeAlias = InputMessage | AssistantMessage | tuple[str, str | Sequence[ContentBlock]]
"""What stands for a turn: the message, an answer to be sent back, or ``("user", "text")``, ``("user", [block, …])``."""

_Request = TypeVar("_Request", CreateMessageRequest, StreamMessageRequest, CountTokensRequest)


def user(*content: str | ContentBlock) -> InputMessage:
    """Return a user's turn: one text, or texts and blocks in their order."""
    match content:
        case (str(text),):
            return InputMessage(role=ROLE_USER, text=text)
    blocks = [ContentBlock(text=TextBlock(text=part)) if isinstance(part, str) else part for part in content]
    return InputMessage(role=ROLE_USER, content=blocks)


def turn(message: AssistantMessage) -> InputMessage:
    """Return Claude's turn as it must go back with the next request: unchanged and in order."""
    return InputMessage(role=message.role, content=message.content)


def build_request(kind: type[_Request], params: MessageParams | None, fields: Mapping[str, Any]) -> _Request:
    """Return a request from ready ``params``, or from ``fields`` of MessageParams; and from the request's own fields.

    Raises:
        TypeError: for both together, a field's wrong type, or a text where a list belongs.
        ValueError: for a field that does not exist.
    """
    own = {name: value for name, value in fields.items() if name in kind.DESCRIPTOR.fields_by_name}
    rest = {name: value for name, value in fields.items() if name not in own}
    if params is not None and rest:
        raise TypeError(f"Set {', '.join(rest)} in params, or give no params.")
    _refuse_text_for_lists(kind, own)
    return kind(params=_build_params(rest) if params is None else params, **own)


def build_stream_request(params: MessageParams | None, fields: Mapping[str, Any]) -> StreamMessageRequest:
    """Return a request like ``build_request``, which also asks for the whole message at the end."""
    request = build_request(StreamMessageRequest, params, fields)
    request.stream_options.include_final_message = True
    return request


def _build_params(fields: Mapping[str, Any]) -> MessageParams:
    _refuse_text_for_lists(MessageParams, fields)
    messages = [_input_message(message) for message in fields.get("messages", ())]
    return MessageParams(**{**fields, "messages": messages})


def _input_message(message: Turn) -> InputMessage:
    match message:
        case InputMessage():
            return message
        case AssistantMessage():
            return turn(message)
        case (str(role), str(text)):
            return InputMessage(role=Role.Value(f"ROLE_{role.upper()}"), text=text)
        case (str(role), content):
            return InputMessage(role=Role.Value(f"ROLE_{role.upper()}"), content=content)
    raise TypeError(f"A turn is a message or a pair of role and content, not {type(message).__name__}.")


def _refuse_text_for_lists(kind: type[_Request | MessageParams], fields: Mapping[str, Any]) -> None:
    # Protobuf would take the text apart and send its letters.
    for name, value in fields.items():
        field = kind.DESCRIPTOR.fields_by_name.get(name)
        if isinstance(value, str) and field is not None and field.is_repeated:
            raise TypeError(f"{name} takes a list, not a text.")
