"""The events of a stream, put together into the message they tell of.

Works on the JSON of the events, whether they are typed or not, so that what the protos do not know yet is merged, too.
The message is the one that the official SDK's ``get_final_message`` makes of the same stream, except where that loses
something. Kept here, and not there:

- a member of ``message_delta``, its delta or its usage that the SDK has no line for: ``cache_creation``, ``speed`` …;
- a value that a later ``message_delta`` leaves out or sets to null, as ``stop_reason`` or ``output_tokens``; and one of
  a compaction that its delta leaves out;
- the place of a block: blocks are told apart and ordered by their index, also when it skips or comes out of order;
- known deltas of unknown blocks that have the key; both halves of a surrogate pair that two deltas share;
- the input of a tool to the byte, and where ``max_tokens`` cut it, the text as far as it came, which is no JSON; in a
  block of an unknown kind, it is then a JSON string.

What no rule is known for cannot be merged: a delta of an unknown type, one for a block that lacks its key or was never
begun. Their types stand in ``unmerged``.
"""

from __future__ import annotations

from claude_grpc.codec import rawjson
from claude_grpc.codec.decode import Decoder
from claude_grpc.codec.deltas import OpenBlock, split_message
from claude_grpc.codec.encode import Encoder
from claude_grpc.codec.rawjson import Members
from claude_grpc.v1 import messages_pb2

__all__ = ["MessageAccumulator"]

_NULL = b"null"

_message_encoder = Encoder(messages_pb2.AssistantMessage.DESCRIPTOR)
_message_decoder = Decoder(messages_pb2.AssistantMessage)
_change_encoder = Encoder(messages_pb2.MessageDelta.DESCRIPTOR)


class MessageAccumulator:
    """Takes a stream's events in order.

    Attributes:
        has_begun: Whether ``message_start`` has come.
        unmerged: Types of deltas that are not in the message.
    """

    def __init__(self) -> None:
        self.has_begun = False
        self.unmerged: set[str] = set()
        self._head: Members = {}
        self._blocks: list[OpenBlock] = []
        self._latest: dict[int, OpenBlock] = {}

    @property
    def message(self) -> messages_pb2.AssistantMessage:
        """What the events have come to, made anew each time."""
        message = _message_decoder.decode(rawjson.join_object(self._head).encode() or b"{}")
        # Sorting leaves blocks that share an index in the order in which they began.
        for block in sorted(self._blocks, key=lambda block: block.index):
            message.content.append(block.merged())
        return message

    def add(self, event: messages_pb2.StreamMessageResponse) -> None:
        """Take one event; it is not changed and not kept."""
        match event.WhichOneof("event"):
            case "content_block_delta":
                self._add_delta(event.content_block_delta)
            case "content_block_start":
                self._add_block(event.content_block_start)
            case "message_start" if not self.has_begun:
                self.has_begun = True
                self._head = split_message(_message_encoder, event.message_start.message)
            case "message_delta":
                self._change(split_message(_change_encoder, event.message_delta))
            case _:
                pass

    def _add_delta(self, event: messages_pb2.ContentBlockDelta) -> None:
        block = self._latest.get(event.index)
        if block is None or not block.add(event.delta):
            self.unmerged.add(event.delta.type)

    def _add_block(self, event: messages_pb2.ContentBlockStart) -> None:
        if not event.HasField("content_block"):
            return
        block = OpenBlock(event.index, event.content_block)
        self._blocks.append(block)
        self._latest[event.index] = block
        if event.content_block.type == "fallback":
            # From here on another model answers.
            to = rawjson.split_object(block.members().get("to", _NULL)) or {}
            _lay(self._head, {"model": to.get("model", _NULL)})

    def _change(self, change: Members) -> None:
        delta = rawjson.split_object(change.pop("delta", _NULL)) or {}
        usage = rawjson.split_object(change.pop("usage", _NULL)) or {}
        _lay(self._head, change | delta)
        if usage:
            so_far = rawjson.split_object(self._head.get("usage", _NULL)) or {}
            _lay(so_far, usage)
            self._head["usage"] = rawjson.join_object(so_far).encode()


def _lay(members: Members, change: Members) -> None:
    """Set what has changed; null takes nothing away."""
    members |= {key: value for key, value in change.items() if key not in members or not rawjson.is_null(value)}
