"""A block that is being written: its start, and what the deltas since then add to it.

Works on JSON, so that a delta merges into a block whether or not the protos know either of them. Which blocks there
are, and in which order, is not known here.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from claude_grpc.codec import rawjson
from claude_grpc.codec.decode import Decoder
from claude_grpc.codec.encode import Encoder
from claude_grpc.codec.rawjson import Members, Raw
from claude_grpc.codec.schema import Arm, ObjectSchema, UnionSchema, read_schema
from claude_grpc.codec.values import quote
from claude_grpc.codec.violations import Violations
from claude_grpc.v1 import content_pb2, messages_pb2

__all__ = ["OpenBlock", "split_message"]

_NULL = b"null"


def split_message(encoder: Encoder, message: Message) -> Members:
    """The members of the message's JSON object."""
    return rawjson.split_object(encoder.encode(message, Violations())) or {}


class OpenBlock:
    """One block of a stream.

    Args:
        index: Its place in the message's content.
        start: How it began; copied.
    """

    def __init__(self, index: int, start: content_pb2.ContentBlock) -> None:
        self.index = index
        self._start = content_pb2.ContentBlock()
        self._start.CopyFrom(start)
        self._arm = start.WhichOneof("block") or ""
        self._keys = (_BLOCK_ARMS.get(self._arm) or self.members()).keys()
        # Kept apart until the end: a string that grows piece by piece costs its square.
        self._pieces: dict[_Rule, list[bytes]] = defaultdict(list)

    def members(self) -> Members:
        """The members of the block as it began."""
        return split_message(_block_encoder, self._start)

    def add(self, delta: messages_pb2.BlockDelta) -> bool:
        """Take a delta; False if no rule says what it does to this block."""
        arm = delta.WhichOneof("delta")
        if arm is None:
            return False
        if arm in _TEXTS:
            rule, name, extra = _TEXTS[arm]
            piece = getattr(delta, arm)
            # What no field can hold, such as half of a surrogate pair, stands in the extra.
            if not getattr(piece, extra):
                return self._take(rule, quote(getattr(piece, name)))
        values = split_message(_delta_encoder, delta)
        taken = [self._take(rule, bytes(values.get(rule.source, b""))) for rule in _RULES.get(delta.type, ())]
        return any(taken)

    def _take(self, rule: _Rule, value: bytes) -> bool:
        if rule.target not in self._keys or not (value.startswith(b'"') if rule.of_text else value):
            return False
        self._pieces[rule].append(value)
        return True

    def merged(self) -> content_pb2.ContentBlock:
        """The block as it is now."""
        if not self._pieces:
            return self._start
        members = self.members()
        texts: dict[str, str] = {}
        for rule, pieces in self._pieces.items():
            value = rule.merge(members.get(rule.target, _NULL), pieces)
            if rule.merge is _parse and not _is_json(value):
                members.pop(rule.target, None)
                texts[rule.target] = value.decode()
            else:
                members[rule.target] = value
        return self._decode(members, texts)

    def _decode(self, members: Members, texts: dict[str, str]) -> content_pb2.ContentBlock:
        """The block of these members; the texts are what was to be JSON and is not, for it was cut."""
        fields = _BLOCK_ARMS.get(self._arm, {})
        members |= {key: quote(text) for key, text in texts.items() if key not in fields}
        block = _block_decoder.decode(rawjson.join_object(members).encode())
        for key in texts.keys() & fields.keys():
            setattr(getattr(block, self._arm), fields[key].name, texts[key])
        return block


def _is_json(text: bytes) -> bool:
    try:
        return len(rawjson.split_array(b"[" + text + b"]") or ()) == 1
    except (ValueError, RecursionError):
        return False


def _append(start: Raw, pieces: list[bytes]) -> bytes:
    """Make one JSON string of several; what is none counts for nothing."""
    before = [text for text in [bytes(start)] if text.startswith(b'"')]
    return b'"' + b"".join(piece[1:-1] for piece in before + pieces) + b'"'


def _replace(start: Raw, pieces: list[bytes]) -> bytes:
    return next((piece for piece in reversed(pieces) if piece != _NULL), bytes(start))


def _collect(start: Raw, pieces: list[bytes]) -> bytes:
    before = [bytes(element) for element in rawjson.split_array(start) or ()]
    return b"[" + b",".join(before + pieces) + b"]"


def _parse(start: Raw, pieces: list[bytes]) -> bytes:
    """The text that JSON strings spell together, itself JSON; no text leaves what stood there."""
    text: str = json.loads(_append(_NULL, pieces))
    # Half of a surrogate pair can only stand in a string of that JSON, where its escape means the same.
    return text.encode(errors="backslashreplace") or bytes(start)


@dataclass(frozen=True, slots=True, eq=False)
class _Rule:
    """What a member of a delta does to a member of its block.

    Attributes:
        source: Key of the delta's member.
        target: Key of the block's.
        merge: Makes the block's member of how it began and of the pieces.
        of_text: Whether the pieces are strings.
    """

    source: str
    target: str
    merge: Callable[[Raw, list[bytes]], bytes]
    of_text: bool = False


_RULES = {
    "text_delta": (_Rule("text", "text", _append, of_text=True),),
    "thinking_delta": (_Rule("thinking", "thinking", _append, of_text=True),),
    "input_json_delta": (_Rule("partial_json", "input", _parse, of_text=True),),
    "signature_delta": (_Rule("signature", "signature", _replace),),
    "citations_delta": (_Rule("citation", "citations", _collect),),
    "compaction_delta": (
        _Rule("content", "content", _replace),
        _Rule("encrypted_content", "encrypted_content", _replace),
    ),
}


def _arms(descriptor: Descriptor) -> Iterator[tuple[Arm, ObjectSchema]]:
    """The arms of a union, each with its schema."""
    union = read_schema(descriptor)
    assert isinstance(union, UnionSchema)  # noqa: S101 # both callers pass unions
    for arm in union.arms:
        schema = read_schema(arm.message)
        assert isinstance(schema, ObjectSchema)  # noqa: S101 # the schema has seen to it
        yield arm, schema


_BLOCK_ARMS = {
    arm.name: {field.key: field for field in schema.fields}
    for arm, schema in _arms(content_pb2.ContentBlock.DESCRIPTOR)
}

# Of the deltas that are one text each, which are nearly all, the rule and the field: read without a detour over JSON.
_TEXTS = {
    arm.name: (rule, field.name, schema.extra)
    for arm, schema in _arms(messages_pb2.BlockDelta.DESCRIPTOR)
    for rule in _RULES.get(arm.tag, ())
    for field in schema.fields
    if rule.of_text and field.key == rule.source
}

_block_encoder = Encoder(content_pb2.ContentBlock.DESCRIPTOR)
_block_decoder = Decoder(content_pb2.ContentBlock)
_delta_encoder = Encoder(messages_pb2.BlockDelta.DESCRIPTOR)
