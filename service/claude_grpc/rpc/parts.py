"""The messages of a client stream, taken apart: one header, then parts, each checked for its place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Any

from google.protobuf.message import Message

from claude_grpc.codec import Violations, rawjson
from claude_grpc.codec.newer import refuse_newer_fields
from claude_grpc.codec.rawjson import Members
from claude_grpc.errors import InvalidRequestError, Violation

__all__ = ["Parts", "extra_members", "refuse"]


def refuse(field: str, description: str) -> InvalidRequestError:
    """The error for one thing that is wrong."""
    return InvalidRequestError([Violation(field, description)])


def extra_members(extra_json: str, taken: Collection[str]) -> Members:
    """The members of ``header.extra_json``, which may be empty.

    Raises:
        InvalidRequestError: It is no JSON object, or holds a name of ``taken``, which is set elsewhere.
    """
    try:
        members = rawjson.split_object(extra_json.strip().encode() or b"{}")
    except (ValueError, RecursionError) as error:
        raise refuse("header.extra_json", f"Is not valid JSON: {error}.") from error
    if members is None:
        raise refuse("header.extra_json", "Must be a JSON object, not another kind of value.")
    for name in members.keys() & taken:
        raise refuse("header.extra_json", f"Holds `{name}`, which is set elsewhere in the stream; leave it out.")
    return members


class Parts:
    """A client stream whose messages have one oneof: ``header`` and what follows it.

    Iterates over what follows, as the arm's name and its message. Raises `InvalidRequestError` if a message is out of
    its place.
    """

    def __init__(self, requests: AsyncIterator[Message]) -> None:
        self._requests = aiter(requests)

    async def header(self) -> Any:
        """The first message's header."""
        first = await anext(self._requests, None)
        if first is None or first.WhichOneof("part") != "header":
            raise refuse("header", "Required, as the first message of the stream.")
        return first.header  # type: ignore[attr-defined] # as its oneof says

    def __aiter__(self) -> AsyncIterator[tuple[str, Any]]:
        return self

    async def __anext__(self) -> tuple[str, Any]:
        message = await anext(self._requests)
        name = message.WhichOneof("part")
        if name is None:
            violations = Violations()
            refuse_newer_fields(message, None, violations)
            violations.raise_if_any()
            raise refuse("part", "Required: each message of the stream has one.")
        if name == "header":
            raise refuse("header", "Must be set once, in the first message of the stream.")
        return name, getattr(message, name)
