"""The events of a stream, put together into the message they tell of.

Follows the API's rules of merging: pieces are appended, a signature replaces, usage counts are totals. What no rule is known
for (a delta of an unknown type, a piece for a block of another kind) changes nothing; it has gone to the caller as an event.
"""

from __future__ import annotations

from google.protobuf.message import Message

from claude_grpc.codec import rawjson
from claude_grpc.codec.schema import ObjectSchema, read_schema, set_test
from claude_grpc.v1 import content_pb2, messages_pb2

__all__ = ["MessageAccumulator"]

_HasExtra = (
    content_pb2.TextBlock | messages_pb2.AssistantMessage | messages_pb2.MessageChange | messages_pb2.Usage
)


class MessageAccumulator:
    """Takes a stream's events in order; ``message`` is what they have come to."""

    def __init__(self) -> None:
        self.message = messages_pb2.AssistantMessage()
        self._blocks: dict[int, _Block] = {}
        self._started = False

    def add(self, event: messages_pb2.StreamMessageResponse) -> None:
        """Take one event; it is not changed and not kept."""
        match event.WhichOneof("event"):
            case "content_block_delta":
                self._add_delta(event.content_block_delta)
            case "content_block_start":
                start = event.content_block_start
                block = self.message.content.add()
                block.CopyFrom(start.content_block)
                self._blocks[start.index] = _Block(block)
            case "content_block_stop":
                self._finish(event.content_block_stop.index)
            case "message_start" if not self._started:
                self._started = True
                self.message.CopyFrom(event.message_start.message)
            case "message_delta":
                _merge(self.message, event.message_delta.delta)
                if event.message_delta.HasField("usage"):
                    _merge(self.message.usage, event.message_delta.usage)
            case "message_stop":
                for index in list(self._blocks):
                    self._finish(index)
            case _:
                pass

    def _add_delta(self, event: messages_pb2.ContentBlockDelta) -> None:
        block = self._blocks.get(event.index)
        if block is not None:
            block.add(event.delta)

    def _finish(self, index: int) -> None:
        block = self._blocks.pop(index, None)
        if block is not None:
            block.finish()


class _Block:
    """A block that is being written: pieces are kept in a list, for a string that grows piece by piece costs its square."""

    def __init__(self, block: content_pb2.ContentBlock) -> None:
        self._block = block
        self._kind = block.WhichOneof("block")
        self._pieces: list[str] = []

    def add(self, delta: messages_pb2.BlockDelta) -> None:
        match delta.WhichOneof("delta"), self._kind:
            case "text_delta", "text":
                self._pieces.append(delta.text_delta.text)
            case "thinking_delta", "thinking":
                self._pieces.append(delta.thinking_delta.thinking)
            case "signature_delta", "thinking":
                self._block.thinking.signature = delta.signature_delta.signature
            case "input_json_delta", "tool_use" | "server_tool_use":
                self._pieces.append(delta.input_json_delta.partial_json)
            case "citations_delta", "text":
                _append_citation(self._block.text, delta.citations_delta.citation)
            case _:
                pass

    def finish(self) -> None:
        written = "".join(self._pieces)
        if not written:
            return
        match self._kind:
            case "text":
                self._block.text.text += written
            case "thinking":
                self._block.thinking.thinking += written
            case "tool_use":
                self._block.tool_use.input_json = written
            case "server_tool_use":
                self._block.server_tool_use.input_json = written


def _append_citation(text: content_pb2.TextBlock, citation: content_pb2.Citation) -> None:
    text.citations.add().CopyFrom(citation)
    if text.extra_json:
        # The block may have begun with `"citations": null` or `[]`, which a list with elements replaces.
        extra = _extra(text)
        extra.pop("citations", None)
        text.extra_json = rawjson.join_object(extra)


def _merge(target: _HasExtra, change: _HasExtra) -> None:
    """Set in ``target`` what ``change`` has; a ``null`` there takes nothing away."""
    schema = read_schema(change.DESCRIPTOR)
    assert isinstance(schema, ObjectSchema)  # noqa: S101 # both callers pass objects
    kept, changed = _extra(target), _extra(change)
    for field in schema.fields:
        if set_test(field)(change):
            kept.pop(field.key, None)
            for name in filter(None, (field.name, field.raw_name)):
                _copy_field(target, change, name)
        elif field.key in changed and set_test(field)(target):
            if rawjson.is_null(changed[field.key]):
                del changed[field.key]
            else:
                target.ClearField(field.name)
    kept.update(
        {key: value for key, value in changed.items() if key not in kept or not rawjson.is_null(value)}
    )
    target.extra_json = rawjson.join_object(kept)


def _copy_field(target: Message, change: Message, name: str) -> None:
    value = getattr(change, name)
    if isinstance(value, Message):
        getattr(target, name).CopyFrom(value)
    else:
        setattr(target, name, value)


def _extra(message: _HasExtra) -> rawjson.Members:
    return (rawjson.split_object(message.extra_json.encode()) or {}) if message.extra_json else {}
